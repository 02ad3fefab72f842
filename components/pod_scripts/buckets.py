"""Clients of object stores, to list, read and write a folder of a bucket; beside `fill_store`, which runs.

They are those of vLLM's image, which its streamer lists and gets small files with, and are told by its variables where
the store is and who asks. An upload is one stream that is read once: where that fails, there is no object.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from fetch_weights import MIB, RefusedError

# One part of an upload. S3 takes 10,000 of one object.
PART_BYTES = 32 * MIB
CHUNK_BYTES = 8 * MIB
# The note that an object of ours bears: whoever sees it need not read the object again.
NOTE = "sha256"


class Store(Protocol):
    """A folder of a bucket; names are relative to it."""

    def sizes(self) -> dict[str, int]:
        """Bytes of everything there, by name."""
        ...

    def note(self, name: str) -> str:
        """The SHA-256 that an object of ours bears, or nothing."""
        ...

    def open(self, name: str) -> Any:
        """A stream of an object, to be read."""
        ...

    def put(self, name: str, stream: Any, size: int, digest: str) -> None:
        """Make an object of a stream that is read once; one that fails leaves none."""
        ...


class S3:
    """Of AWS, or of who speaks like it."""

    def __init__(self, bucket: str, prefix: str, environ: Mapping[str, str]) -> None:
        import boto3  # noqa: PLC0415 # pyright: ignore[reportMissingImports] - of the image
        from boto3.s3.transfer import TransferConfig  # noqa: PLC0415 # pyright: ignore[reportMissingImports]
        from botocore.config import Config  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

        style = "path" if environ.get("RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING", "1") == "0" else "virtual"
        # stores that only speak like AWS's do not know its newer checksums
        plain = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
        retries = {"mode": "standard", "max_attempts": 6}
        self.client = boto3.client("s3", config=Config(s3={"addressing_style": style}, retries=retries, **plain))
        self.bucket, self.prefix = bucket, prefix
        self.parts = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=4)

    def sizes(self) -> dict[str, int]:
        """By name."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
        found = [(one["Key"], one["Size"]) for page in pages for one in page.get("Contents", ())]
        return {key.removeprefix(self.prefix): size for key, size in found}

    def note(self, name: str) -> str:
        """The hash."""
        return self.client.head_object(Bucket=self.bucket, Key=self.prefix + name)["Metadata"].get(NOTE, "")

    def open(self, name: str) -> Any:
        """A stream."""
        return self.client.get_object(Bucket=self.bucket, Key=self.prefix + name)["Body"]

    def put(self, name: str, stream: Any, size: int, digest: str) -> None:  # noqa: ARG002 - others ask for it
        """In parts, which are given up where the stream fails."""
        told = {"Metadata": {NOTE: digest}}
        self.client.upload_fileobj(stream, self.bucket, self.prefix + name, ExtraArgs=told, Config=self.parts)


class Google:
    """Google Cloud Storage."""

    def __init__(self, bucket: str, prefix: str, environ: Mapping[str, str]) -> None:
        import google.auth  # noqa: PLC0415 # pyright: ignore[reportMissingImports] - of the image
        from google.cloud import storage  # noqa: PLC0415 # pyright: ignore[reportAttributeAccessIssue]

        file = environ.get("RUNAI_STREAMER_GCS_CREDENTIAL_FILE")
        found, project = google.auth.load_credentials_from_file(file) if file else google.auth.default()
        self.bucket = storage.Client(credentials=found, project=project or "none").bucket(bucket)
        self.prefix = prefix

    def sizes(self) -> dict[str, int]:
        """By name."""
        found = self.bucket.list_blobs(prefix=self.prefix)
        return {one.name.removeprefix(self.prefix): one.size for one in found}

    def note(self, name: str) -> str:
        """The hash."""
        return (self.bucket.get_blob(self.prefix + name).metadata or {}).get(NOTE, "")

    def open(self, name: str) -> Any:
        """A stream."""
        return self.bucket.blob(self.prefix + name).open("rb", chunk_size=CHUNK_BYTES)

    def put(self, name: str, stream: Any, size: int, digest: str) -> None:
        """In parts; what is there only when the last has come. Not if another has made it meanwhile."""
        blob = self.bucket.blob(self.prefix + name, chunk_size=PART_BYTES)
        blob.metadata = {NOTE: digest}
        blob.upload_from_file(stream, size=size, checksum="auto", if_generation_match=0)


class Azure:
    """Azure Blob Storage."""

    def __init__(self, bucket: str, prefix: str, environ: Mapping[str, str]) -> None:
        from azure.identity import DefaultAzureCredential  # noqa: PLC0415 # pyright: ignore[reportMissingImports]
        from azure.storage.blob import BlobServiceClient  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

        ending = environ.get("AZURE_STORAGE_ENDPOINT_SUFFIX", "blob.core.windows.net")
        key = environ.get("AZURE_STORAGE_ACCOUNT_KEY") or DefaultAzureCredential()
        sizes = {"max_block_size": PART_BYTES, "max_single_put_size": PART_BYTES, "min_large_block_upload_threshold": 1}
        url = f"https://{environ['AZURE_STORAGE_ACCOUNT_NAME']}.{ending}"
        self.container = BlobServiceClient(account_url=url, credential=key, **sizes).get_container_client(bucket)
        self.prefix = prefix

    def sizes(self) -> dict[str, int]:
        """By name."""
        found = self.container.list_blobs(name_starts_with=self.prefix)
        return {one.name.removeprefix(self.prefix): one.size for one in found}

    def note(self, name: str) -> str:
        """The hash."""
        return self.container.get_blob_client(self.prefix + name).get_blob_properties().metadata.get(NOTE, "")

    def open(self, name: str) -> Any:
        """A stream."""
        return self.container.get_blob_client(self.prefix + name).download_blob()

    def put(self, name: str, stream: Any, size: int, digest: str) -> None:
        """In blocks, which become the object by one list of them. Not if another has made it meanwhile."""
        client = self.container.get_blob_client(self.prefix + name)
        client.upload_blob(stream, length=size, metadata={NOTE: digest}, overwrite=False, max_concurrency=1)


STORES: Mapping[str, Callable[[str, str, Mapping[str, str]], Store]] = {"s3": S3, "gs": Google, "az": Azure}


def store_of(url: str, environ: Mapping[str, str]) -> Store:
    """The folder of a bucket that a URL names."""
    scheme, _, path = url.partition("://")
    bucket, _, prefix = path.partition("/")
    if scheme not in STORES or not bucket:
        raise RefusedError(f"TARGET_URL is {url!r}, which names no bucket of {', '.join(STORES)}")
    try:
        return STORES[scheme](bucket, f"{prefix.rstrip('/')}/" if prefix else "", environ)
    except ImportError as error:
        raise RefusedError(f"this image has no client of {scheme}:// ({error})") from None
