<?php
/**
 * Plugin Name: Similar products
 * Description: Shows products similar to one of the shop's: below each product, below the cart, and where [fashion_similar_items] stands.
 * Version: 1.0.0
 * Requires at least: 6.5
 * Requires PHP: 7.4
 * Requires Plugins: woocommerce
 *
 * Put this file into wp-content/plugins, name the gateway in wp-config.php, and activate the plugin:
 *
 *     define( 'FASHION_GATEWAY', 'https://similar.shop.example' );
 *
 * The ids are those of `fashion ingest wc-product-export.csv`: the SKU, without one the number of the product.
 * Add the shop's origin to GATEWAY_ALLOWED_ORIGINS of the gateway.
 */

defined( 'ABSPATH' ) || exit;

/** Returns the id that the catalogue has for a product. A variable product is known by its variations. */
function fashion_product_id( WC_Product $product ): string {
	if ( $product->is_type( 'variable' ) ) {
		$variations = $product->get_visible_children();
		$first      = $variations ? wc_get_product( $variations[0] ) : null;
		$product    = $first ? $first : $product;
	}
	$sku = $product->get_sku();
	return '' !== $sku ? $sku : (string) $product->get_id();
}

/** Returns the ids of the products in the cart. */
function fashion_cart_ids(): array {
	$cart = function_exists( 'WC' ) ? WC()->cart : null;
	$ids  = array();
	foreach ( $cart ? $cart->get_cart() : array() as $item ) {
		$ids[] = fashion_product_id( $item['data'] );
	}
	return $ids;
}

/**
 * Returns the element for a product; "" where there is none.
 *
 * What is in the cart is left out on the pages of cart and checkout alone: caches keep others for every shopper.
 */
function fashion_similar_items( $attributes = array() ): string {
	$attributes = shortcode_atts(
		array(
			'product_id' => '',
			'limit'      => 8,
			'filter'     => '',
			'heading'    => __( 'You may also like', 'fashion-similar-items' ),
		),
		$attributes,
		'fashion_similar_items'
	);
	$in_cart = is_cart() || is_checkout() ? fashion_cart_ids() : array();
	$id      = $attributes['product_id'];
	if ( '' === $id && is_product() ) {
		$product = wc_get_product( get_the_ID() );
		$id      = $product ? fashion_product_id( $product ) : '';
	}
	if ( '' === $id && $in_cart ) {
		$id = end( $in_cart );
	}
	if ( '' === $id || ! defined( 'FASHION_GATEWAY' ) ) {
		return '';
	}
	wp_enqueue_script_module( 'fashion-similar-items', FASHION_GATEWAY . '/elements/similar-items.js', array(), null );
	return sprintf(
		'<similar-items gateway="%s" product-id="%s" exclude="%s" filter="%s" currency="%s" limit="%d" heading="%s"></similar-items>',
		esc_url( FASHION_GATEWAY ),
		esc_attr( $id ),
		esc_attr( implode( ',', $in_cart ) ),
		esc_attr( $attributes['filter'] ),
		esc_attr( get_woocommerce_currency() ),
		(int) $attributes['limit'],
		esc_attr( $attributes['heading'] )
	);
}

add_shortcode( 'fashion_similar_items', 'fashion_similar_items' );

foreach ( array( 'woocommerce_after_single_product_summary', 'woocommerce_after_cart' ) as $place ) {
	add_action(
		$place,
		static function () {
			echo fashion_similar_items(); // phpcs:ignore WordPress.Security.EscapeOutput -- escaped where it is made.
		},
		15
	);
}
