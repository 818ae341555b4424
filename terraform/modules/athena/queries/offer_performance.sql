-- Whether offers earn anything: their buyers against those who were held out.
SELECT * FROM "${database}"."gold_offer_performance" ORDER BY rule
