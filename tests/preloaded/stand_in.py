"""What is called as Python is: it stands for its fork, passes signals on and ends as the fork does.

`preloaded.start` writes it, with a first line that names Python, into the folder of the sockets. It imports nothing
that takes time.
"""

import json
import os
import signal
import socket
import sys

folder = os.path.dirname(os.path.abspath(__file__))

words = sys.argv[1:]
if words[0] == "-u":
    del words[0]
if words[0] not in ("-m", "-c") and not words[0].endswith(".py"):
    os.execv(sys.executable, [sys.executable, *words])
place = socket.socket(socket.AF_UNIX)
raylet = "raylet-" + "-".join(os.environ.get("RAY_" + name, "") for name in ("RAYLET_PID", "JOB_ID"))
for name in (raylet, "workers") if words[0].endswith("default_worker.py") else ("others",):
    try:
        place.connect(f"{folder}/{name}")
        break
    except OSError:  # it is the first of its raylet
        continue
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, frame: place.send(bytes([number])))
request = json.dumps([words, os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(place, [len(request).to_bytes(8, "big")], [0, 1, 2])
place.sendall(request)
ended = int(place.recv(8) or -signal.SIGKILL)
if ended < 0:
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    if ended != -signal.SIGKILL:
        signal.signal(-ended, signal.SIG_DFL)
    os.kill(os.getpid(), -ended)
os._exit(ended)
