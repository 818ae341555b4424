"""Removing a deployment leaves nothing behind, though tables and buckets are full."""

from tests.infra.drive import Drive


def test_removing_leaves_an_empty_state_and_no_bucket(drive: Drive) -> None:
    drive.close()
    drive.stack.destroy()
    assert drive.stack.left() == []
    assert drive.emulator.client("s3").list_buckets()["Buckets"] == []
    assert drive.emulator.client("dynamodb").list_tables()["TableNames"] == []
