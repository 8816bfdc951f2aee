@0x9b6f1f6d2a51c00a;
# The network: a NIC on one side of the stack, sockets on the other.
#
# Set-up is by these messages; frames and bytes move through shared memory (crate `ring`), without a message each.

using Ipc = import "ipc.capnp";
using Memory = import "memory.capnp";

struct NicCounters {
  receivedFrames @0 :UInt64;
  receivedBytes @1 :UInt64;
  sentFrames @2 :UInt64;
  sentBytes @3 :UInt64;
  receiveErrors @4 :UInt64;   # frames that the driver dropped because the device gave a bad length
  sendErrors @5 :UInt64;      # descriptors from the client that named a bad offset or length
  interrupts @6 :UInt64;
}

interface Nic {
  # One network interface, served by its driver. One client at a time: opening again ends the session before.

  info @0 () -> (mac :Data, mtu :UInt16, linkUp :Bool, driver :Text, counters :NicCounters);
  # `mac` is 6 bytes; `mtu` counts bytes of IP packet: 68 to 9216.

  open @1 (doorbell :Ipc.Signaller) -> (session :NicSession, rings :Memory.MemoryObject,
      buffers :Memory.MemoryObject, doorbell :Ipc.Signaller, bufferBytes :UInt32, receiveBuffers :UInt32, sendBuffers :UInt32,
      sendBufferBytes :UInt32, offload :SendOffload);
  # Starts a session. `rings` holds the four rings in the layout of `ring::frame`: received and free for
  # receiving, send and sent for sending. `buffers` holds `receiveBuffers` buffers of `bufferBytes` each and then
  # `sendBuffers` of `sendBufferBytes` each; descriptors name them by byte offset. The driver rings the
  # client's doorbell, and the client the driver's, only when the other said that it sleeps.
  # `offload` is what a sent frame may ask for in the flags of its descriptor. A received frame may be several TCP segments
  # that the device merged, as large as its buffer; a driver whose device does that has buffers that hold a TCP window of 65280
  # bytes with its headers, and the client announces none that is larger.
  # A descriptor with a bad offset or length ends the session. The buffers may be the same memory in every session of
  # one driver's life: who kept them mapped sees what the next client sends and receives, so grant a Nic to one process.
}

enum SendOffload {
  # What a device can do to the frames that it sends.
  none @0;
  checksums @1;   # fill in TCP and UDP checksums
  segments @2;    # that, and cut TCP packets into segments
}

interface NicSession {
  # Dropping it ends the session; the driver stops using the buffers.
  linkChanged @0 () -> (linkUp :Bool);
  # Answers when the link state has changed since the last answer (or since `open`), and with the error `disconnected`
  # once the session has ended.
}

struct Ipv4 {
  address @0 :UInt32;  # host order: 0x0a00020f is 10.0.2.15
}

struct Route {
  destination @0 :UInt32;
  prefixLength @1 :UInt8;
  gateway @2 :UInt32;  # 0: on link
}

enum AddressSource { none @0; static @1; dhcp @2; }

struct InterfaceStatus {
  name @0 :Text;
  mac @1 :Data;
  linkUp @2 :Bool;
  mtu @3 :UInt16;
  address @4 :UInt32;
  prefixLength @5 :UInt8;
  source @6 :AddressSource;
  routes @7 :List(Route);
  dnsServers @8 :List(UInt32);
  leaseSeconds @9 :UInt32;      # left of the lease, 0 without one
  nic @10 :NicCounters;
  tcpSockets @11 :UInt16;
  udpSockets @12 :UInt16;
  droppedFrames @13 :UInt64;    # frames that the stack refused
  nicConnected @14 :Bool;       # false while the driver is restarting
}

interface NetworkManager {
  # Sockets and status; each client has its own socket quota, and its sockets end when it does.

  status @0 () -> (interface :InterfaceStatus);

  listenTcp @1 (port :UInt16, backlog :UInt16) -> (listener :TcpListener);
  # Up to `backlog` (1 to 64) connections wait for `accept`; further ones are refused by RST or kept waiting by the peer's retries.
  # Errors: `failed` when the port is taken or 0; `overloaded` above the quota.

  connectTcp @2 (address :UInt32, port :UInt16) -> (socket :TcpSocket);
  # Answers when the connection is up. Errors: `failed` when it was refused or timed out.

  bindUdp @3 (port :UInt16) -> (socket :UdpSocket);
  # Port 0 picks a free one.
}

interface TcpListener {
  accept @0 (doorbell :Ipc.Signaller) -> (socket :TcpSocket, stream :Memory.MemoryObject, doorbell :Ipc.Signaller,
      peerAddress :UInt32, peerPort :UInt16, pages :UInt32);
  # Answers with the next connection, already open as by `TcpSocket.open`. Several calls may wait.
  # The stream's memory may be that of an earlier connection of this listener which everybody has let go of, and hold what
  # was left in it.
}

interface TcpSocket {
  open @0 (doorbell :Ipc.Signaller) -> (stream :Memory.MemoryObject, doorbell :Ipc.Signaller, pages :UInt32);
  # Shared memory of so many pages with one byte ring each way, in the layout of `ring::stream`. The sender closes its
  # ring to end its direction (FIN); the ring's state tells end of stream and reset. Dropping the
  # socket without closing resets the connection.

  info @1 () -> (localAddress :UInt32, localPort :UInt16, peerAddress :UInt32, peerPort :UInt16, state :Text);

  abort @2 ();
  # Resets the connection (RST).
}

interface UdpSocket {
  # Datagrams by a call each, or through shared memory once it is open.

  send @0 (address :UInt32, port :UInt16, data :Data) -> ();
  # At most 1472 bytes or what the MTU allows. Errors: `overloaded` when the send buffer is full.
  receive @1 () -> (address :UInt32, port :UInt16, data :Data);
  # Answers with the next datagram. Datagrams beyond the receive buffer are dropped and counted.
  info @2 () -> (localPort :UInt16, dropped :UInt64);

  open @3 (doorbell :Ipc.Signaller) -> (datagrams :Memory.MemoryObject, doorbell :Ipc.Signaller, pages :UInt32);
  # Shared memory of so many pages with one ring of datagrams each way, in the layout of `ring::datagram`; once for each socket. From then on
  # datagrams that come go there alone, and `receive` answers only the end of the socket. What finds no room in the
  # ring is dropped and counted, and so is what cannot be sent: too long, to no address or port, without a route.
  # Errors: `failed` when it is open already.
}
