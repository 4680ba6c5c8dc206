"""Answers HTTP on port 8080, out of as much memory and beside as many files as it is told to have.

Arguments: MiB of memory, of which every page is touched and half is random; files to make below /srv/tree.
Each answer reads some pages, so one that is not there yet delays it. "GET /change/N" rewrites N % of the pages.
"""

import os
import random
import socket
import sys

PAGE = 4096
FILES_PER_DIRECTORY = 1000
PAGES_PER_ANSWER = 16


def touch(mebibytes):
    memory = bytearray(mebibytes << 20)
    for at in range(0, len(memory), PAGE):
        memory[at : at + PAGE // 2] = os.urandom(PAGE // 2)
        memory[at + PAGE // 2] = 1
    return memory


def make_tree(count):
    if os.path.exists("/srv/tree"):
        return
    for number in range(count):
        directory = f"/srv/tree.new/{number // FILES_PER_DIRECTORY}"
        if number % FILES_PER_DIRECTORY == 0:
            os.makedirs(directory)
        with open(f"{directory}/{number}", "w") as file:
            file.write(f"{number} " * (number % 50))
    if count > 0:
        os.rename("/srv/tree.new", "/srv/tree")


def main():
    make_tree(int(sys.argv[2]))
    memory = touch(int(sys.argv[1]))
    pages = len(memory) // PAGE
    listener = socket.create_server(("", 8080), backlog=64)
    while True:
        connection, _ = listener.accept()
        with connection:
            try:
                words = connection.recv(4096).split()
                if len(words) > 1 and words[1].startswith(b"/change/"):
                    share = int(words[1].rsplit(b"/", 1)[1])
                    for page in random.sample(range(pages), pages * share // 100):
                        memory[page * PAGE : page * PAGE + PAGE // 2] = os.urandom(PAGE // 2)
                said = sum(memory[random.randrange(pages) * PAGE] for _ in range(PAGES_PER_ANSWER if pages else 0))
                connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n%d\n" % said)
            except OSError:
                # Who asked has gone.
                pass


sys.exit(main())
