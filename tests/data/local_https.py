"""A web server on this machine that answers for https:// addresses, so that downloads are tested without a network."""

from __future__ import annotations

import http.client
import http.server
import threading
import urllib.request


class LocalServer:
    """Serves `files` (path -> bytes) with ranges and tags, and misbehaves as it is told.

    Attributes:
        files: path -> content, or an address (text) to redirect to.
        log: (path, Range header) of each request.
        cut: number of bytes after which each of the next `cuts` answers breaks off.
        statuses: status codes that the next requests get instead of an answer; None: an answer.
        ranges: whether Range is understood.
    """

    def __init__(self):
        self.files, self.log, self.statuses = {}, [], []
        self.cut, self.cuts, self.ranges, self.tag = 0, 0, True, '"v1"'
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                owner.answer(self)

            def log_message(self, *arguments):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    @property
    def handlers(self):
        """For `download_file(..., handlers=)`: every https:// address is answered by this server."""
        port = self.port

        class Handler(urllib.request.HTTPSHandler):
            def https_open(self, request):
                def connection(host, **options):
                    return http.client.HTTPConnection("127.0.0.1", port, timeout=options["timeout"])

                return self.do_open(connection, request)

        return (Handler(),)

    def answer(self, request):
        self.log.append((request.path, request.headers.get("Range")))
        status = self.statuses.pop(0) if self.statuses else None
        if status:
            request.send_error(status)
            return
        content = self.files.get(request.path)
        if content is None:
            request.send_error(404)
            return
        if isinstance(content, str):
            request.send_response(302)
            request.send_header("Location", content)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        start, same = 0, request.headers.get("If-Range", self.tag) == self.tag
        if self.ranges and same and request.headers.get("Range"):
            start = int(request.headers["Range"].removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                request.send_response(416)
                request.send_header("Content-Range", f"bytes */{len(content)}")
                request.send_header("Content-Length", "0")
                request.end_headers()
                return
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            request.send_response(200)
        request.send_header("Content-Length", str(len(content) - start))
        request.send_header("ETag", self.tag)
        request.end_headers()
        body = content[start:]
        if self.cuts:
            self.cuts -= 1
            body = body[: self.cut]
            request.close_connection = True
        request.wfile.write(body)
