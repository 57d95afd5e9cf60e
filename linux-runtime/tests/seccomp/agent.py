# A seccomp agent: takes one listener at the socket it is given, prints what it was told, and answers one call with EBADFD.
import fcntl, os, socket, struct, sys

RECEIVE, ANSWER = 0xC0502100, 0xC0182101
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
os.write(1, b"\n")
connection, _ = server.accept()
state, (listener,), _, _ = socket.recv_fds(connection, 65536, 1)
while more := connection.recv(65536):
    state += more
os.write(1, state + b"\n")
asked = fcntl.ioctl(listener, RECEIVE, bytes(80))
fcntl.ioctl(listener, ANSWER, asked[:8] + struct.pack("qiI", 0, -77, 0))
