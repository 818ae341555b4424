-- Products at or below their reorder level, the shortest cover first.
SELECT product_id, name, stock_on_hand, reorder_level, days_of_cover
FROM "${database}"."gold_inventory_health"
WHERE low_stock
ORDER BY days_of_cover, product_id
