"""Named steps over ports and domain: ingest, offer, alert, abandon, replay.

    read rows ─▶ ingest (clicks, carts, orders, stock) ─▶ offer ─▶ fire timers ─▶ one batch

`processor.Processor` runs them for one shard. Everything a micro-batch does is one `Work`, which
becomes visible in one piece together with the checkpoint: a kill at any point repeats nothing.
"""
