"""A server that speaks first, as those of mail do: SMTP as far as ``smtplib`` needs it. Each connection is one process's
line in its output when a message was taken."""

from __future__ import annotations

import os
import socketserver


class Handler(socketserver.StreamRequestHandler):
    def say(self, text: str) -> None:
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self) -> None:
        self.say("220 greeter ready")
        for line in self.rfile:
            verb = line.split()[0].upper().decode()
            if verb == "DATA":
                self.say("354 go on")
                length = 0
                while (part := self.rfile.readline()) not in (b".\r\n", b""):
                    length += len(part)
                self.say(f"250 taken {length}")
            elif verb == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 fine")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    with Server((os.environ.get("HOST", "0.0.0.0"), int(os.environ["PORT"])), Handler) as server:
        server.serve_forever()
