"""The one seam over MongoDB's drivers: Motor today, PyMongo's async API in its place by a setting.

Everyone else uses the narrow, typed surface below; the two drivers differ in which calls are awaited, and only here.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC
from typing import Any, Literal, TypeVar

from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient, IndexModel, ReadPreference, ReturnDocument
from pymongo.errors import (
    AutoReconnect,
    ConnectionFailure,
    DuplicateKeyError,
    ExecutionTimeout,
    NetworkTimeout,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WriteConcernError,
)
from pymongo.read_concern import ReadConcern
from pymongo.results import BulkWriteResult, DeleteResult, InsertManyResult, InsertOneResult, UpdateResult
from pymongo.write_concern import WriteConcern

Document = dict[str, Any]
Filter = Mapping[str, Any]
Update = Mapping[str, Any] | Sequence[Mapping[str, Any]]
Sort = Sequence[tuple[str, int]] | Mapping[str, int]
Session = Any  #: a driver's session, handed on as it is
T = TypeVar("T")

MAJORITY = WriteConcern(w="majority", j=True)
POOL_SIZE = 32  #: connections per process; batches keep far fewer busy
TRANSACTION_TRIES = 20  #: of `run_in_transaction`; a conflict between two writers of a partition is over long before
CODEC: CodecOptions[Document] = CodecOptions(
    document_class=dict, tz_aware=True, tzinfo=UTC, uuid_representation=UuidRepresentation.STANDARD
)


def connect(
    url: str,
    driver: Literal["motor", "pymongo"] = "motor",
    *,
    server_selection_seconds: float = 5.0,
    retry_writes: bool = True,
) -> MongoClient:
    """A client for `url`; nothing is connected before the first operation.

    `server_selection_seconds`: how long an operation waits for a server before it counts as away.
    `retry_writes`: whether the driver repeats a write whose answer is lost. MongoDB keeps a record of every single
    write for that; a caller who finds out by itself what took place does without.
    """
    options: dict[str, Any] = {
        "serverSelectionTimeoutMS": int(server_selection_seconds * 1000),
        "connectTimeoutMS": 5000,
        "socketTimeoutMS": 30000,
        "maxPoolSize": POOL_SIZE,
        "retryWrites": retry_writes,
        "appname": "tendril",
        "tz_aware": True,
        "uuidRepresentation": "standard",
    }
    client: Any = AsyncIOMotorClient(url, **options) if driver == "motor" else AsyncMongoClient(url, **options)
    return MongoClient(client)


class MongoClient:
    """A pool of connections to one deployment. Use it in one event loop only."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def database(self, name: str) -> Database:
        """A database; made at its first write."""
        return Database(self._client.get_database(name, codec_options=CODEC, write_concern=MAJORITY))

    async def ping(self) -> None:
        """Ask for a sign of life. Raises what `is_unavailable` knows when there is none."""
        await self._client.admin.command("ping")

    async def database_names(self) -> list[str]:
        """All databases that hold something."""
        return list(await self._client.list_database_names())

    async def drop_database(self, name: str) -> None:
        """Remove a database with all that is in it."""
        await self._client.drop_database(name)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        """One transaction: snapshot reads, majority and journaled writes; committed at the end, aborted on an error.

        A commit whose answer is lost is repeated by the driver once; what it raises then may carry the label of an
        unknown result. Errors labelled transient (`is_transient`) leave nothing behind: the caller may start again.
        """
        started = self._client.start_session()
        session = await started if inspect.isawaitable(started) else started
        async with session:
            begun = session.start_transaction(
                read_concern=ReadConcern("snapshot"), write_concern=MAJORITY, read_preference=ReadPreference.PRIMARY
            )
            async with await begun if inspect.isawaitable(begun) else begun:
                yield session

    async def run_in_transaction(self, work: Callable[[Session], Awaitable[T]]) -> T:
        """Run `work` in a transaction, again as long as MongoDB calls the failure transient, at most 20 times.

        `work` may run several times, so it does nothing outside the transaction.
        """
        for _ in range(TRANSACTION_TRIES - 1):
            try:
                async with self.transaction() as session:
                    return await work(session)
            except PyMongoError as error:
                if not is_transient(error):
                    raise
        async with self.transaction() as session:
            return await work(session)

    async def close(self) -> None:
        """Give all connections back."""
        closed = self._client.close()
        if inspect.isawaitable(closed):
            await closed


class Database:
    """One database."""

    def __init__(self, database: Any) -> None:
        self._database = database

    @property
    def name(self) -> str:
        """Its name."""
        return str(self._database.name)

    def collection(self, name: str, *, majority: bool = True) -> Collection:
        """A collection. `majority`: writes are answered once journaled by a majority; else as soon as applied."""
        concern = MAJORITY if majority else WriteConcern(w=1)
        return Collection(self._database.get_collection(name, write_concern=concern))

    async def command(self, command: Mapping[str, Any]) -> Document:
        """Run a database command; its answer."""
        return dict(await self._database.command(command))

    async def collection_names(self) -> list[str]:
        """All its collections."""
        return list(await self._database.list_collection_names())

    async def drop_collection(self, name: str) -> None:
        """Remove a collection; nothing happens when there is none."""
        await self._database.drop_collection(name)

    async def rename_collection(self, old: str, new: str) -> None:
        """Give a collection another name, in place of whatever had it."""
        await self._database.get_collection(old).rename(new, dropTarget=True)


class Cursor:
    """The answer of a query, read all at once or in turn."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    async def to_list(self, length: int | None = None) -> list[Document]:
        """All documents, or at most `length`."""
        return list(await (await self._opened()).to_list(length))

    async def __aiter__(self) -> AsyncIterator[Document]:
        async for document in await self._opened():
            yield document

    async def _opened(self) -> Any:
        if inspect.isawaitable(self._cursor):
            self._cursor = await self._cursor
        return self._cursor


class Collection:
    """One collection. Filters, updates and pipelines are MongoDB's own; `session` puts a call into a transaction."""

    def __init__(self, collection: Any) -> None:
        self._collection = collection

    @property
    def name(self) -> str:
        """Its name."""
        return str(self._collection.name)

    async def find_one(
        self,
        filter_: Filter,
        projection: Any = None,
        *,
        sort: Sort | None = None,
        session: Session = None,
    ) -> Document | None:
        """The first document that matches, or None."""
        found: Document | None = await self._collection.find_one(filter_, projection, sort=sort, session=session)
        return found

    def find(
        self,
        filter_: Filter | None = None,
        projection: Any = None,
        *,
        sort: Sort | None = None,
        limit: int = 0,
        skip: int = 0,
        hint: Any = None,
        batch_size: int = 0,
        session: Session = None,
    ) -> Cursor:
        """All that match; `limit` 0 = no limit."""
        cursor = self._collection.find(
            filter_, projection, sort=sort, limit=limit, skip=skip, hint=hint, batch_size=batch_size, session=session
        )
        return Cursor(cursor)

    async def insert_one(self, document: Document, *, session: Session = None) -> InsertOneResult:
        """Insert; `is_duplicate_key` tells when the id or a unique index is taken."""
        result: InsertOneResult = await self._collection.insert_one(document, session=session)
        return result

    async def insert_many(
        self, documents: Sequence[Document], *, ordered: bool = True, session: Session = None
    ) -> InsertManyResult:
        """Insert at least one document."""
        result: InsertManyResult = await self._collection.insert_many(documents, ordered=ordered, session=session)
        return result

    async def update_one(
        self,
        filter_: Filter,
        update: Update,
        *,
        upsert: bool = False,
        array_filters: Sequence[Filter] | None = None,
        session: Session = None,
    ) -> UpdateResult:
        """Change one document that matches."""
        result: UpdateResult = await self._collection.update_one(
            filter_, update, upsert=upsert, array_filters=array_filters, session=session
        )
        return result

    async def update_many(
        self, filter_: Filter, update: Update, *, upsert: bool = False, session: Session = None
    ) -> UpdateResult:
        """Change all that match."""
        result: UpdateResult = await self._collection.update_many(filter_, update, upsert=upsert, session=session)
        return result

    async def replace_one(
        self, filter_: Filter, document: Document, *, upsert: bool = False, session: Session = None
    ) -> UpdateResult:
        """Put a whole document in the place of one that matches."""
        result: UpdateResult = await self._collection.replace_one(filter_, document, upsert=upsert, session=session)
        return result

    async def delete_one(self, filter_: Filter, *, session: Session = None) -> DeleteResult:
        """Remove one document that matches."""
        result: DeleteResult = await self._collection.delete_one(filter_, session=session)
        return result

    async def delete_many(self, filter_: Filter, *, session: Session = None) -> DeleteResult:
        """Remove all that match."""
        result: DeleteResult = await self._collection.delete_many(filter_, session=session)
        return result

    async def find_one_and_update(
        self,
        filter_: Filter,
        update: Update,
        *,
        upsert: bool = False,
        return_after: bool = True,
        projection: Any = None,
        sort: Sort | None = None,
        session: Session = None,
    ) -> Document | None:
        """Change one document and give it as it is after (or before), or None when none matches."""
        document: Document | None = await self._collection.find_one_and_update(
            filter_,
            update,
            upsert=upsert,
            return_document=ReturnDocument.AFTER if return_after else ReturnDocument.BEFORE,
            projection=projection,
            sort=sort,
            session=session,
        )
        return document

    async def bulk_write(
        self, operations: Sequence[Any], *, ordered: bool = False, session: Session = None
    ) -> BulkWriteResult:
        """Carry out at least one of pymongo's operations (`UpdateOne`, `InsertOne`, …) in few round trips."""
        result: BulkWriteResult = await self._collection.bulk_write(operations, ordered=ordered, session=session)
        return result

    def aggregate(self, pipeline: Sequence[Mapping[str, Any]], *, session: Session = None, **options: Any) -> Cursor:
        """The pipeline's documents."""
        return Cursor(self._collection.aggregate(pipeline, session=session, **options))

    async def count_documents(self, filter_: Filter, *, session: Session = None, **options: Any) -> int:
        """How many match."""
        return int(await self._collection.count_documents(filter_, session=session, **options))

    async def distinct(self, key: str, filter_: Filter | None = None, *, session: Session = None) -> list[Any]:
        """The values of a field among those that match."""
        return list(await self._collection.distinct(key, filter_, session=session))

    async def create_index(self, keys: Any, **options: Any) -> str:
        """Make an index unless it is there; its name."""
        return str(await self._collection.create_index(keys, **options))

    async def create_indexes(self, models: Sequence[IndexModel]) -> list[str]:
        """Make several; their names. None are made when there are none."""
        return list(await self._collection.create_indexes(list(models))) if models else []

    async def explain(self, filter_: Filter, sort: Sort | None = None) -> Document:
        """The plan of a query, for tests that look for collection scans."""
        find: Document = {"find": self.name, "filter": filter_}
        if sort is not None:
            find["sort"] = dict(sort)
        return dict(await self._collection.database.command({"explain": find, "verbosity": "queryPlanner"}))


#: Server error codes that say "not now": interrupted by shutdown, no primary, stepping down, network trouble inside.
AWAY_CODES = frozenset({6, 7, 89, 91, 189, 9001, 10107, 11600, 11602, 13435, 13436})
_AWAY = (ConnectionFailure, AutoReconnect, NetworkTimeout, ServerSelectionTimeoutError, WaitQueueTimeoutError)


def is_unavailable(error: BaseException) -> bool:
    """Whether this says that MongoDB is away or cannot write now, so that waiting helps."""
    if isinstance(error, _AWAY):
        return True
    return isinstance(error, PyMongoError) and (
        getattr(error, "code", None) in AWAY_CODES or isinstance(error, ExecutionTimeout | WriteConcernError)
    )


def is_duplicate_key(error: BaseException) -> bool:
    """Whether a unique index refused a write, alone or as the only kind of failure of a bulk."""
    if isinstance(error, DuplicateKeyError):
        return True
    details = getattr(error, "details", None) or {}
    failures = details.get("writeErrors", []) if isinstance(details, Mapping) else []
    return bool(failures) and all(failure.get("code") == 11000 for failure in failures)


def is_transient(error: BaseException) -> bool:
    """Whether a transaction failed without a trace and may be run again whole."""
    return isinstance(error, PyMongoError) and error.has_error_label("TransientTransactionError")
