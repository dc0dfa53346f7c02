"""A ledger node that lies: passes calls on and twists the answers."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx


class LyingNode:
    """`twist(method, params, result)` gives what the client is told instead of `result`."""

    def __init__(self, url):
        self.twist = lambda method, params, result: result
        self._upstream = httpx.Client(trust_env=False)
        liar = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def do_POST(self):
                call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = liar._upstream.post(url, json=call).json()
                # One call or a list of them; answers are matched by their ids.
                calls, answers = (call, answer) if isinstance(call, list) else ([call], [answer])
                asked = {one["id"]: one for one in calls}
                for one in answers:
                    if "result" in one:
                        method, params = asked[one["id"]]["method"], asked[one["id"]]["params"]
                        one["result"] = liar.twist(method, params, one["result"])
                body = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                self.wfile.flush()

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass  # a twist may raise to cut the connection

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
        self._upstream.close()
