"""From a product to a dressed person or a garment laid flat."""

import random
from collections.abc import Callable
from dataclasses import replace

from PIL import Image

from offline.drawn.bottoms import Legs, draw_legs, draw_skirt
from offline.drawn.canvas import Canvas, Cloth, Frame, limb
from offline.drawn.figure import (
    ADULT_FLAT,
    BOY_FLAT,
    GIRL_FLAT,
    MAN,
    WOMAN,
    WOMAN_FLAT,
    Body,
    Person,
    hand_on_hip,
    hanger,
    jeans_below,
    lower_frame,
    top_above,
    upper_frame,
)
from offline.drawn.palette import (
    BASE_COLOURS,
    DARK,
    DENIM,
    LEATHER,
    MULTI,
    WHITE,
    Colour,
    companion,
    contrast,
    darker,
    lighter,
    luminance,
    mix,
)
from offline.drawn.patterns import cloth, denim
from offline.drawn.prints import ADULT_PRINTS, BOY_PRINTS, GIRL_PRINTS, chest_print
from offline.drawn.spec import ProductSpec
from offline.drawn.tops import Upper, chest_pocket, draw_upper, kangaroo_pocket, welt_pockets

Dresser = Callable[[ProductSpec, random.Random], Image.Image]

_NEUTRALS: tuple[Colour, ...] = (WHITE, (206, 208, 212), (70, 74, 82), (52, 60, 84), (150, 160, 172))
_BOTTOMS: tuple[Colour, ...] = (DENIM, (52, 66, 96), (60, 60, 66), (120, 138, 166), (196, 178, 142))


def leading_colour(spec: ProductSpec) -> Colour:
    """The product's colour; of several equal ones, the first."""
    return MULTI[0] if spec.base_colour == "Multi" else BASE_COLOURS[spec.base_colour]


def product_cloth(spec: ProductSpec, draw: random.Random, scale: float = 1.0) -> Cloth:
    """The cloth of a product: its pattern in its colour."""
    return cloth(spec.pattern, leading_colour(spec), draw, scale=scale, multi=spec.base_colour == "Multi")


def body_for(spec: ProductSpec, draw: random.Random) -> Body:
    """Adults wear most of their clothes; what is for children, or for anyone, lies flat."""
    if spec.gender == "Boys":
        return BOY_FLAT
    if spec.gender == "Girls":
        return GIRL_FLAT
    if spec.gender == "Unisex":
        return ADULT_FLAT
    if spec.gender == "Women":
        if "flat" in spec.cut:
            return WOMAN_FLAT
        return hand_on_hip(WOMAN) if draw.random() < 0.35 else WOMAN
    return ADULT_FLAT if "flat" in spec.cut else MAN


def _wear_upper(
    spec: ProductSpec,
    draw: random.Random,
    cut: Upper,
    finish: Callable[[Canvas, Body, Cloth], None] | None = None,
) -> Image.Image:
    """An upper garment, worn or flat, with what `finish` adds last."""
    body = body_for(spec, draw)
    frame = upper_frame(body, draw)
    if spec.gender in ("Boys", "Girls"):
        frame = replace(frame, scale=frame.scale * 0.94)
    canvas = Canvas(frame)
    fabric = product_cloth(spec, draw)
    person = Person(body, spec.gender == "Women", draw)
    below = draw.choice(_BOTTOMS)
    if body.worn:
        person.behind(canvas)
        person.arms(canvas, bare_from=max(0.0, cut.sleeve - 0.14))
        jeans_below(canvas, body, below)
        person.torso(canvas)
    elif spec.gender == "Unisex":
        hanger(canvas)
    draw_upper(canvas, body, cut, fabric, draw)
    if finish is not None:
        finish(canvas, body, fabric)
    if body.worn:
        person.head(canvas)
    return canvas.finish()


def tshirt(spec: ProductSpec, draw: random.Random) -> Image.Image:
    """A T-shirt: crew or V neck, or a polo."""
    colour = leading_colour(spec)
    polo, women = "polo" in spec.cut, spec.gender in ("Women", "Girls")
    accent = draw.choice((None, contrast(colour), companion(colour, 0.4)))
    sleeves = companion(colour, 0.5) if spec.pattern == "Colourblock" else None
    cut = Upper(
        neck="polo" if polo else ("v" if "v-neck" in spec.cut else ("scoop" if women else "crew")),
        sleeve=0.2 if women else (0.92 if "long" in spec.cut else 0.36),
        puff=(7 if spec.gender == "Girls" else 3.5) if women else 5,
        hem=draw.uniform(208, 214) if women else draw.uniform(214, 222),
        ease=2 if women else 4,
        flare=0 if women else 2.5,
        front="placket" if polo else "closed",
        accent=accent or (sleeves if spec.pattern == "Colourblock" else None),
        sleeves=sleeves,
    )
    prints = {"Boys": BOY_PRINTS, "Girls": GIRL_PRINTS, "Unisex": ("slogan", "slogan", "rings", "number")}
    kind = draw.choice(prints.get(spec.gender, ADULT_PRINTS))
    size = draw.uniform(0.85, 1.1) * (0.8 if spec.gender == "Women" else 1.0)

    def finish(canvas: Canvas, body: Body, fabric: Cloth) -> None:
        if spec.pattern == "Printed" and not polo:
            chest_print(canvas, kind, colour, draw, size=size)
        elif polo or spec.pattern == "Solid":
            canvas.dot(body.chest * 0.5, 122, 2.2, contrast(colour))

    return _wear_upper(spec, draw, cut, finish)


def shirt(spec: ProductSpec, draw: random.Random) -> Image.Image:
    """A buttoned shirt with a collar."""
    women, short = spec.gender == "Women", "short" in spec.cut
    sleeve = (0.38 if not women else 0.26) if short else draw.choice((0.93, 0.93, 0.62))
    if spec.gender == "Boys":
        sleeve = 0.42 if short else 0.93
    cut = Upper(
        neck="shirt",
        sleeve=sleeve,
        puff=3.5 if women else 4.5,
        hem=218 if women else 222,
        ease=2.5 if women else 4.5,
        flare=1 if women else 3,
        front="buttons",
        curved=True,
    )
    pockets = 0 if women else draw.choice((0, 1, 1, 2))

    def finish(canvas: Canvas, body: Body, fabric: Cloth) -> None:
        if pockets:
            chest_pocket(canvas, body, fabric, flap=pockets == 2)

    return _wear_upper(spec, draw, cut, finish)


def top(spec: ProductSpec, draw: random.Random) -> Image.Image:
    """A woman's or girl's top: looser, sleeveless or with short, wide sleeves, flared below."""
    kind = spec.cut.split()[0]
    cut = {
        "cami": Upper(neck="strap", sleeve=0, hem=208, ease=5, flare=7),
        "sleeveless": Upper(neck="scoop", sleeve=0, hem=212, ease=4, flare=6),
        "flutter": Upper(neck="v", sleeve=0.2, puff=12, hem=210, ease=4, flare=9),
        "tunic": Upper(neck="boat", sleeve=0.6, puff=5, hem=232, ease=5, flare=8),
        "peplum": Upper(neck="boat", sleeve=0.16, puff=4, hem=206, ease=1, flare=14),
    }[kind]
    colour = leading_colour(spec)
    girl = spec.gender == "Girls"
    figure = draw.choice(GIRL_PRINTS)

    def finish(canvas: Canvas, body: Body, fabric: Cloth) -> None:
        if kind == "peplum":
            y = body.waist_y - 2
            canvas.fill(
                limb([(-body.waist - 1, y), (0, y + 2), (body.waist + 1, y)], (2.2,)),
                darker(colour, 0.2),
                depth=0,
            )
            folds = [[(x * 0.6, y + 4), (x, 205)] for x in (-32, -18, -4, 10, 24)]
            canvas.folds(folds, 3, 0.25)
        if kind == "tunic":
            canvas.stroke(
                [
                    (-body.waist - 4, body.waist_y - 6),
                    (0, body.waist_y - 3),
                    (body.waist + 4, body.waist_y - 6),
                ],
                darker(colour),
                1,
            )
        if girl and spec.pattern in ("Solid", "Printed"):
            chest_print(canvas, figure, colour, draw, size=0.9)
        elif spec.pattern == "Printed":
            chest_print(canvas, draw.choice(("leaf", "flower", "sun")), colour, draw, size=0.8)

    return _wear_upper(spec, draw, cut, finish)


def sweatshirt(spec: ProductSpec, draw: random.Random) -> Image.Image:
    """A hooded or crew-neck sweatshirt with ribbed cuffs and hem."""
    hood = "hood" in spec.cut
    colour = leading_colour(spec)
    accent = darker(colour, 0.12) if luminance(colour) > 70 else lighter(colour, 0.08)
    cut = Upper(
        neck="hood" if hood else "crew",
        sleeve=0.97,
        puff=5.5 if spec.gender == "Men" else 5,
        hem=220 if spec.gender == "Men" else 214,
        ease=7,
        flare=1,
        front="zip" if "zip" in spec.cut else "closed",
        rib=True,
        accent=accent,
    )
    motif = draw.choice(ADULT_PRINTS)

    def finish(canvas: Canvas, body: Body, fabric: Cloth) -> None:
        if hood:
            kangaroo_pocket(canvas, fabric, cut.hem)
            if cut.front == "zip":
                canvas.stroke([(0, 100, 1), (0, cut.hem + 4, 1)], (186, 190, 196), 2)
        if spec.pattern == "Printed":
            chest_print(canvas, motif, colour, draw, size=0.85)

    return _wear_upper(spec, draw, cut, finish)


def jacket(spec: ProductSpec, draw: random.Random) -> Image.Image:
    """A zipped or buttoned jacket: bomber, leather, denim or quilted."""
    kind = spec.cut.split()[0]
    colour = leading_colour(spec)
    men = spec.gender == "Men"
    accent = draw.choice((darker(colour, 0.25), contrast(colour))) if kind == "bomber" else darker(colour, 0.15)
    cut = Upper(
        neck="shirt" if kind == "denim" else "stand",
        sleeve=0.97,
        puff=5.5 if men else 4.5,
        hem=218 if men else 206,
        ease=8 if men else 5,
        flare=3,
        front="buttons" if kind == "denim" else "zip",
        rib=kind == "bomber",
        accent=accent,
        sleeves=contrast(colour) if spec.pattern == "Colourblock" else None,
    )

    def finish(canvas: Canvas, body: Body, fabric: Cloth) -> None:
        if kind == "quilted":
            for y in range(108, int(cut.hem) - 6, 17):
                wide = body.waist + 10
                canvas.stroke([(-wide, y), (0, y + 3), (wide, y)], darker(colour, 0.4), 1.2)
                canvas.folds([[(-wide, y + 4), (0, y + 7), (wide, y + 4)]], 3, 0.25)
            canvas.stroke([(0, 84, 1), (0, cut.hem + 4, 1)], (186, 190, 196), 2.4)
        elif kind == "denim":
            for side in (1, -1):
                canvas.stroke([(side * 6, 120, 1), (side * (body.chest - 2), 117, 1)], (214, 160, 92), 1.0, dash=2.4)
                canvas.stroke([(side * 18, 122, 1), (side * 12, cut.hem - 8, 1)], (214, 160, 92), 1.0, dash=2.4)
            chest_pocket(canvas, body, fabric, flap=True)
        elif kind == "leather":
            for side in (1, -1):
                lapel = [(side * 2.0, 128.0), (side * 5.0, 86.0), (side * 18.0, 82.0), (side * 22.0, 104.0)]
                canvas.fill(lapel, fabric, depth=0.2)
            canvas.folds([[(-20, 140), (-16, 200)], [(26, 120), (24, 160)]], 5, 0.28, WHITE)
        if kind != "denim":
            welt_pockets(canvas, body, colour, cut.hem)

    return _wear_upper(spec, draw, cut, finish)


def _full_length(spec: ProductSpec, draw: random.Random, cut: Upper, *, covered: Colour | None) -> Image.Image:
    """Someone from head to foot in one long garment; legs bare, or in trousers of a colour."""
    woman = spec.gender in ("Women", "Girls")
    if spec.gender == "Girls":
        body = GIRL_FLAT
        frame = Frame(draw.uniform(1.4, 1.55), (0, 170), draw.uniform(-3, 3))
    else:
        body = (hand_on_hip(WOMAN) if draw.random() < 0.3 else WOMAN) if woman else MAN
        frame = Frame(draw.uniform(0.97, 1.02), (draw.uniform(-4, 4), 241), draw.uniform(-1, 1))
    if covered is not None and cut.hem < 350:
        frame = replace(frame, scale=frame.scale * 1.18, origin=(frame.origin[0], 212))
    canvas = Canvas(frame)
    fabric = product_cloth(spec, draw, 0.8)
    person = Person(body, woman, draw)
    if body.worn:
        person.behind(canvas)
        person.arms(canvas, bare_from=max(0.0, cut.sleeve - 0.14))
        person.legs(canvas)
        if covered is not None:
            for side in (1, -1):
                spine = [
                    (side * body.stance, 215),
                    (side * (body.stance + 1), 335),
                    (side * body.stance, 446),
                ]
                wide = (body.thigh + 2, body.knee + 2.5, body.ankle + 2)
                canvas.fill(limb(spine, wide), covered, depth=0.3)
        person.shoes(canvas, draw.choice((DARK, LEATHER, (190, 150, 110))))
        person.torso(canvas)
    draw_upper(canvas, body, cut, fabric, draw)
    if spec.article_type == "Dresses":
        _waist_detail(canvas, spec, body, fabric, draw)
    else:
        _yoke(canvas, spec, body, fabric, cut)
    if body.worn:
        person.head(canvas)
    return canvas.finish()


def _waist_detail(canvas: Canvas, spec: ProductSpec, body: Body, fabric: Cloth, draw: random.Random) -> None:
    y, wide = body.waist_y - 1, body.waist + (3 if "shift" not in spec.cut else 5)
    if "shift" in spec.cut:
        return
    belt = draw.choice((darker(fabric.colour, 0.3), contrast(fabric.colour), companion(fabric.colour, 0.4)))
    canvas.fill(limb([(-wide, y), (0, y + 1.5), (wide, y)], (3,)), belt, depth=0.1, edge=0.7)
    if spec.gender == "Girls":
        for side in (1, -1):
            canvas.fill([(0, y), (side * 15, y - 8), (side * 15, y + 9)], belt, depth=0.2, edge=0.8)
        canvas.dot(0, y + 0.5, 3.2, darker(belt, 0.15))


def _yoke(canvas: Canvas, spec: ProductSpec, body: Body, fabric: Cloth, cut: Upper) -> None:
    trim = companion(fabric.colour, 0.12) if luminance(fabric.colour) < 200 else (196, 150, 70)
    if spec.gender == "Women":
        for x in (-6.5, 6.5):
            canvas.stroke([(x, 92, 1), (x, 150, 1)], trim, 1.6, dash=2.2)
        hem = body.hip + cut.flare
        canvas.stroke([(-hem + 1, cut.hem - 7), (0, cut.hem - 1), (hem - 1, cut.hem - 7)], trim, 3.2)
        canvas.stroke([(-hem + 1, cut.hem - 14), (0, cut.hem - 8), (hem - 1, cut.hem - 14)], trim, 1.2, dash=3)
    for side in (1, -1):
        x = side * (body.hip + cut.flare * 0.55)
        canvas.stroke(
            [(x, body.hip_y + 34), (side * (body.hip + cut.flare - 5), cut.hem)],
            darker(fabric.colour, 0.4),
            1.4,
        )


def dress(spec: ProductSpec, draw: random.Random) -> Image.Image:
    """A dress: fit and flare, shift, shirt dress or maxi."""
    kind = spec.cut.split()[0]
    girl = spec.gender == "Girls"
    cut = {
        "flare": Upper(neck="scoop", sleeve=0.0, hem=322, ease=1, flare=34),
        "shift": Upper(neck="boat", sleeve=0.2, puff=4, hem=312, ease=7, flare=4),
        "wrap": Upper(neck="v", sleeve=0.45, puff=4, hem=330, ease=1, flare=20),
        "maxi": Upper(neck="strap", sleeve=0.0, hem=438, ease=1, flare=26),
        "strappy": Upper(neck="strap", sleeve=0.0, hem=304, ease=1, flare=30),
    }[kind]
    if girl:
        cut = replace(cut, hem=262, flare=min(cut.flare + 8, 36), sleeve=0.2, puff=9)
    return _full_length(spec, draw, cut, covered=None)


def kurta(spec: ProductSpec, draw: random.Random) -> Image.Image:
    """A long Indian tunic with side slits over narrow trousers."""
    colour = leading_colour(spec)
    if spec.gender == "Men":
        cut = Upper(neck="mandarin", sleeve=0.93, puff=3.5, hem=318, ease=4, flare=8, front="placket")
        return _full_length(spec, draw, cut, covered=draw.choice((WHITE, (232, 224, 204), DENIM)))
    neck = draw.choice(("mandarin", "scoop", "v"))
    sleeve = draw.choice((0.0, 0.36, 0.66, 0.66))
    cut = Upper(neck=neck, sleeve=sleeve, puff=4.5, hem=draw.choice((322, 336)), ease=5, flare=12)
    turned = companion(colour, draw.choice((0.4, 0.5, -0.1)))
    return _full_length(spec, draw, cut, covered=draw.choice((WHITE, (60, 50, 60), mix(turned, DARK, 0.3))))


def _lower(
    spec: ProductSpec, draw: random.Random, put: Callable[[Canvas, Body, Cloth], None], *, bare: bool
) -> Image.Image:
    body = body_for(spec, draw)
    if body.worn:
        body = WOMAN if spec.gender == "Women" else MAN
    frame = lower_frame(body, draw)
    if bare and not body.worn:
        frame = replace(frame, scale=frame.scale * 1.25, origin=(0, 244))
    elif spec.gender in ("Boys", "Girls"):
        frame = replace(frame, scale=frame.scale * 0.92)
    canvas = Canvas(frame)
    twill = spec.article_type == "Jeans" or "denim" in spec.cut
    fabric = denim(leading_colour(spec), draw) if twill else product_cloth(spec, draw)
    if body.worn:
        person = Person(body, spec.gender == "Women", draw)
        person.arms(canvas, bare_from=0.25)
        person.legs(canvas)
        shoe = draw.choice((DARK, LEATHER, (226, 226, 228)))
        person.shoes(canvas, shoe)
        shirt_colour = draw.choice([c for c in _NEUTRALS if abs(luminance(c) - luminance(fabric.colour)) > 45])
        put(canvas, body, fabric)
        top_above(canvas, body, shirt_colour)
    else:
        put(canvas, body, fabric)
    return canvas.finish()


def trousers(spec: ProductSpec, draw: random.Random) -> Image.Image:
    """Jeans, trousers or track pants."""
    women = spec.gender == "Women"
    kind = {"Jeans": "jeans", "Trousers": "trousers", "Track Pants": "track"}[spec.article_type]
    fits = {
        "skinny": (0.5, 0.8, 1.6),
        "slim": (1.5, 2.0, 3.0),
        "straight": (2.0, 4.0, 6.0),
        "bootcut": (1.5, 2.0, 9.0),
        "relaxed": (3.0, 6.0, 7.5),
    }
    ease = fits[spec.cut.split()[0]]
    length = draw.uniform(438, 450) if not women else draw.uniform(430, 446)
    if spec.gender in ("Boys", "Girls"):
        length = 404
    cut = Legs(kind, length, ease, belt=kind == "trousers" and not women)

    def put(canvas: Canvas, body: Body, fabric: Cloth) -> None:
        draw_legs(canvas, body, cut, fabric, draw)

    return _lower(spec, draw, put, bare=False)


def shorts(spec: ProductSpec, draw: random.Random) -> Image.Image:
    """Shorts: tailored, sporting or with cargo pockets."""
    kind = {"chino": "shorts", "sport": "sport shorts", "cargo": "cargo shorts"}[spec.cut.split()[0]]
    long = {"Men": 322, "Women": 276, "Boys": 306, "Girls": 278}[spec.gender]
    cut = Legs(kind, long + draw.uniform(-6, 6), (4.0, 7.0, 7.0) if spec.gender != "Women" else (2.5, 6.0, 6.0))

    def put(canvas: Canvas, body: Body, fabric: Cloth) -> None:
        draw_legs(canvas, body, cut, fabric, draw)

    return _lower(spec, draw, put, bare=True)


def skirt(spec: ProductSpec, draw: random.Random) -> Image.Image:
    """A skirt of the cut's kind."""

    def put(canvas: Canvas, body: Body, fabric: Cloth) -> None:
        draw_skirt(canvas, body, spec.cut.split()[0], fabric, draw)

    return _lower(spec, draw, put, bare=True)
