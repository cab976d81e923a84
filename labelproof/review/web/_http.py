"""The HTTP parser of a served app, with an end to everything that a client could make endless."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_BYTES = 32_768
"""Bytes in a row (and the read that goes over it) of an address, headers, trailers or chunk extensions."""


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's fast protocol, which by itself keeps as many headers as are sent.

    Bytes are counted since a body's part, the end of headers or the end of a message came; trailers are dropped: they would be
    added to the headers of a request that is being answered.
    """

    _reads_head = True
    _unused = 0

    def data_received(self, data: bytes) -> None:
        """Parse what came, and hang up on what does not end."""
        self._unused += len(data)
        super().data_received(data)
        if self._unused > MOST_BYTES and not self.transport.is_closing():
            if self._reads_head:
                self.send_400_response("The request's headers are too large.")
            else:
                self.transport.close()

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._reads_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; not a trailer."""
        if self._reads_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to answer."""
        self._reads_head, self._unused = False, 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass on a part of the body, whose size the app limits."""
        self._unused = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Begin to wait for the next request."""
        self._unused = 0
        super().on_message_complete()
