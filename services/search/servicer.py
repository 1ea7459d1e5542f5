"""Offers search over gRPC: unpacks, calls, packs."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import grpc

from fashion.v1 import reindex_pb2, reindex_pb2_grpc, search_pb2, search_pb2_grpc
from services.search.conversion import facets, filters, preferences, products, queries, reindex
from services.search.filters.colours import DislikedColour
from services.search.reading import ReadingSearch
from services.search.reindex.reindexer import Reindexer
from services.search.service import LocalSearch
from services.serving.conversion import embedding_to_proto, garments_to_proto, photograph_from_proto
from services.serving.registry import GrpcService

SEARCH: Final = GrpcService(
    name=search_pb2.DESCRIPTOR.services_by_name["SearchService"].full_name,
    not_ready_reason="INDEX_NOT_READY",
    add_to_server=search_pb2_grpc.add_SearchServiceServicer_to_server,
    writes=frozenset(
        {
            "UpsertProducts",
            "UpdateProducts",
            "DeleteProducts",
            "AddPhotograph",
            "RemovePhotograph",
            "BatchFindSimilar",
        }
    ),
)

REINDEX: Final = GrpcService(
    name=reindex_pb2.DESCRIPTOR.services_by_name["ReindexService"].full_name,
    not_ready_reason="INDEX_NOT_READY",
    add_to_server=reindex_pb2_grpc.add_ReindexServiceServicer_to_server,
    writes=frozenset({"StartReindex", "SwitchGeneration", "RollbackGeneration", "EndReindex"}),
)

# The name under which health tells whether the disliked colours can be read. Search answers without them too.
DISLIKES: Final = f"{SEARCH.name}.DislikedColours"

_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class ReadingServicer(search_pb2_grpc.SearchServiceServicer):
    """The part of SearchService that changes no product; search.proto documents what each method does and refuses."""

    def __init__(self, search: ReadingSearch) -> None:
        self._reading = search

    async def dislikes_known(self) -> bool:
        """Tells whether the disliked colours can be read now; no RPC, but for the gateway in the same process."""
        return await self._reading.dislikes_known()

    async def FindSimilar(  # noqa: N802
        self, request: search_pb2.FindSimilarRequest, context: _Context
    ) -> search_pb2.FindSimilarResponse:
        """Finds the products most similar to a product, a photograph or an embedding."""
        return queries.similar_answer_to_proto(
            await self._reading.find_similar(queries.similar_request_from_proto(request))
        )

    async def BatchFindSimilar(  # noqa: N802
        self, request: search_pb2.BatchFindSimilarRequest, context: _Context
    ) -> search_pb2.BatchFindSimilarResponse:
        """Finds the products most similar to each of some products."""
        product_ids = tuple(request.product_ids)
        answers = await self._reading.batch_find_similar(
            product_ids, queries.similar_request_from_proto(request.options)
        )
        return queries.similar_lists_to_proto(product_ids, answers)

    async def DetectGarments(  # noqa: N802
        self, request: search_pb2.DetectGarmentsRequest, context: _Context
    ) -> search_pb2.DetectGarmentsResponse:
        """Finds the garments in a photograph."""
        garments = await self._reading.detect_garments(photograph_from_proto(request.image))
        return search_pb2.DetectGarmentsResponse(garments=garments_to_proto(garments))

    async def ListProducts(  # noqa: N802
        self, request: search_pb2.ListProductsRequest, context: _Context
    ) -> search_pb2.ListProductsResponse:
        """Lists a page of products."""
        page = await self._reading.list_products(
            filters.filter_from_proto(request.filter),
            order=filters.order_from_proto(request.order),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return search_pb2.ListProductsResponse(
            products=[products.product_to_proto(product) for product in page.products],
            next_page_token=page.next_page_token,
            total_size=page.total_count,
            other_currencies=facets.currencies_to_proto(page.other_currencies),
        )

    async def ListFacets(  # noqa: N802
        self, request: search_pb2.ListFacetsRequest, context: _Context
    ) -> search_pb2.ListFacetsResponse:
        """Counts the products of the catalogue by the values of their attributes."""
        return facets.facets_to_proto(await self._reading.list_facets(filters.filter_from_proto(request.filter)))

    async def AddDislikedColours(  # noqa: N802
        self, request: search_pb2.AddDislikedColoursRequest, context: _Context
    ) -> search_pb2.AddDislikedColoursResponse:
        """Adds colours that a user dislikes."""
        named = [preferences.disliked_colour_from_proto(colour) for colour in request.colours]
        colours = await self._reading.add_disliked_colours(request.user_id, named)
        return search_pb2.AddDislikedColoursResponse(colours=await self._with_covered(colours))

    async def RemoveDislikedColours(  # noqa: N802
        self, request: search_pb2.RemoveDislikedColoursRequest, context: _Context
    ) -> search_pb2.RemoveDislikedColoursResponse:
        """Removes colours that a user dislikes."""
        colours = await self._reading.remove_disliked_colours(request.user_id, tuple(request.colours))
        return search_pb2.RemoveDislikedColoursResponse(colours=await self._with_covered(colours))

    async def ListDislikedColours(  # noqa: N802
        self, request: search_pb2.ListDislikedColoursRequest, context: _Context
    ) -> search_pb2.ListDislikedColoursResponse:
        """Lists the colours that a user dislikes."""
        colours = await self._reading.list_disliked_colours(request.user_id)
        return search_pb2.ListDislikedColoursResponse(colours=await self._with_covered(colours))

    async def ForgetUser(  # noqa: N802
        self, request: search_pb2.ForgetUserRequest, context: _Context
    ) -> search_pb2.ForgetUserResponse:
        """Erases all data about a user."""
        return search_pb2.ForgetUserResponse(existed=await self._reading.forget_user(request.user_id))

    async def _with_covered(self, colours: Sequence[DislikedColour]) -> list[search_pb2.DislikedColour]:
        return preferences.disliked_colours_to_proto(colours, await self._reading.covered(colours))


class SearchServicer(ReadingServicer):
    """SearchService of fashion.v1; search.proto documents what each method does and refuses."""

    def __init__(self, search: LocalSearch) -> None:
        super().__init__(search)
        self._search = search

    async def UpsertProducts(  # noqa: N802
        self, request: search_pb2.UpsertProductsRequest, context: _Context
    ) -> search_pb2.UpsertProductsResponse:
        """Creates or replaces products."""
        fields = products.replaced_fields_from_proto(request)
        rows = [products.upsert_row_from_proto(row) for row in request.rows]
        return products.upsert_report_to_proto(rows, await self._search.upsert_products(rows, fields))

    async def UpdateProducts(  # noqa: N802
        self, request: search_pb2.UpdateProductsRequest, context: _Context
    ) -> search_pb2.UpdateProductsResponse:
        """Changes some fields of products that are known."""
        # In another thread, because a full batch takes milliseconds that queries would have to wait for.
        rows = await asyncio.to_thread(products.update_rows_from_proto, request)
        report = await self._search.update_products(rows)
        return await asyncio.to_thread(products.update_report_to_proto, rows, report)

    async def DeleteProducts(  # noqa: N802
        self, request: search_pb2.DeleteProductsRequest, context: _Context
    ) -> search_pb2.DeleteProductsResponse:
        """Deletes products and their photographs."""
        product_ids = tuple(request.product_ids)
        return products.delete_report_to_proto(product_ids, await self._search.delete_products(product_ids))

    async def AddPhotograph(  # noqa: N802
        self, request: search_pb2.AddPhotographRequest, context: _Context
    ) -> search_pb2.AddPhotographResponse:
        """Adds a photograph to a product."""
        report = await self._search.add_photograph(
            request.product_id,
            products.content_from_proto(request),
            index=request.index if request.HasField("index") else None,
        )
        return products.photograph_added_to_proto(report)

    async def RemovePhotograph(  # noqa: N802
        self, request: search_pb2.RemovePhotographRequest, context: _Context
    ) -> search_pb2.RemovePhotographResponse:
        """Removes one of several photographs of a product."""
        named = products.photograph_named_in(request)
        return products.photograph_removed_to_proto(await self._search.remove_photograph(request.product_id, named))

    async def GetProduct(  # noqa: N802
        self, request: search_pb2.GetProductRequest, context: _Context
    ) -> search_pb2.GetProductResponse:
        """Returns one product."""
        result = await self._search.get_product(request.product_id, include_embedding=request.include_embedding)
        return search_pb2.GetProductResponse(
            product=products.product_to_proto(result.product),
            embedding=None if result.embedding is None else embedding_to_proto(result.embedding),
        )

    async def GetPhotograph(  # noqa: N802
        self, request: search_pb2.GetPhotographRequest, context: _Context
    ) -> search_pb2.GetPhotographResponse:
        """Returns a photograph of a product, as it was uploaded."""
        photograph = await self._search.get_photograph(request.product_id, request.index)
        return search_pb2.GetPhotographResponse(
            content=photograph.content, media_type=photograph.media_type, sha256=photograph.sha256
        )

    async def GetIndex(  # noqa: N802
        self, request: search_pb2.GetIndexRequest, context: _Context
    ) -> search_pb2.GetIndexResponse:
        """Returns facts about the index."""
        return facets.catalogue_facts_to_proto(await self._search.get_index())


class ReindexServicer(reindex_pb2_grpc.ReindexServiceServicer):
    """ReindexService of fashion.v1; reindex.proto documents what each method does and refuses."""

    def __init__(self, reindexer: Reindexer) -> None:
        self._reindexer = reindexer

    async def StartReindex(  # noqa: N802
        self, request: reindex_pb2.StartReindexRequest, context: _Context
    ) -> reindex_pb2.StartReindexResponse:
        """Begins the next generation."""
        await self._reindexer.start(
            request.bundle,
            reindex.gate_from_proto(request.gate),
            reindex.canaries_from_proto(request),
            hold=request.hold,
        )
        return reindex_pb2.StartReindexResponse(reindex=await self._state())

    async def GetReindex(  # noqa: N802
        self, request: reindex_pb2.GetReindexRequest, context: _Context
    ) -> reindex_pb2.GetReindexResponse:
        """Tells which generations there are."""
        return reindex_pb2.GetReindexResponse(reindex=await self._state())

    async def SwitchGeneration(  # noqa: N802
        self, request: reindex_pb2.SwitchGenerationRequest, context: _Context
    ) -> reindex_pb2.SwitchGenerationResponse:
        """Makes the next generation live."""
        await self._reindexer.switch(force=request.force)
        return reindex_pb2.SwitchGenerationResponse(reindex=await self._state())

    async def RollbackGeneration(  # noqa: N802
        self, request: reindex_pb2.RollbackGenerationRequest, context: _Context
    ) -> reindex_pb2.RollbackGenerationResponse:
        """Goes back to the previous generation."""
        await self._reindexer.rollback(force=request.force)
        return reindex_pb2.RollbackGenerationResponse(reindex=await self._state())

    async def EndReindex(  # noqa: N802
        self, request: reindex_pb2.EndReindexRequest, context: _Context
    ) -> reindex_pb2.EndReindexResponse:
        """Forgets the generation beside the live one."""
        await self._reindexer.end(force=request.force)
        return reindex_pb2.EndReindexResponse(reindex=await self._state())

    async def _state(self) -> reindex_pb2.Reindex:
        # In a thread, because it waits for a write to the index.
        return reindex.reindex_to_proto(await asyncio.to_thread(self._reindexer.state))
