// Options and ancillary data of kernel TLS.
#include "sys/kernel_tls.h"

#include <errno.h>
// Not netinet/tcp.h: its tcp_info ends before the counts of bytes.
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cstring>

#include "sys/calls.h"
#include "sys/retried.h"

namespace sidesplice::sys {

namespace {

// linux/tcp.h, linux/socket.h and linux/tls.h; not every C library of today names them.
constexpr int kTcpUlp = 31;
constexpr int kSolTls = 282;
constexpr int kTlsTx = 1;
constexpr int kTlsRx = 2;
constexpr int kTlsSetRecordType = 1;
constexpr int kTlsGetRecordType = 2;

}  // namespace

int AttachTls(int fd) {
  return Retried([&] { return calls->setsockopt(fd, IPPROTO_TCP, kTcpUlp, "tls", sizeof("tls")); });
}

int SetTlsKey(int fd, TlsWay way, std::span<const uint8_t> key) {
  const int option = way == TlsWay::kSend ? kTlsTx : kTlsRx;
  return Retried([&] { return calls->setsockopt(fd, kSolTls, option, key.data(), static_cast<socklen_t>(key.size())); });
}

int GetTlsSendKey(int fd, std::span<uint8_t> into) {
  auto size = static_cast<socklen_t>(into.size());
  return getsockopt(fd, kSolTls, kTlsTx, into.data(), &size) == 0 ? 0 : -errno;
}

ssize_t ReceiveRecord(int fd, void* into, size_t bytes, uint8_t* type) {
  iovec part{into, bytes};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(uint8_t))];
  msghdr message{};
  const ssize_t got = Retried([&] {
    message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    return calls->recvmsg(fd, &message, MSG_DONTWAIT);
  });
  *type = 0;
  if (got < 0) return got;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header))
    if (header->cmsg_level == kSolTls && header->cmsg_type == kTlsGetRecordType) *type = *CMSG_DATA(header);
  return got;
}

ssize_t SendRecord(int fd, uint8_t type, const void* from, size_t bytes) {
  iovec part{const_cast<void*>(from), bytes};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(uint8_t))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = kSolTls;
  header->cmsg_type = kTlsSetRecordType;
  header->cmsg_len = CMSG_LEN(sizeof(type));
  *CMSG_DATA(header) = type;
  return Retried([&] { return calls->sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT); });
}

bool TcpBytesWritten(int fd, uint64_t* bytes) {
  tcp_info info{};
  socklen_t size = sizeof(info);
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return false;
  // Linux 4.19 counts what was sent; what was sent again is in it twice.
  if (size < offsetof(tcp_info, tcpi_bytes_retrans) + sizeof(info.tcpi_bytes_retrans)) return false;
  *bytes = info.tcpi_bytes_sent - info.tcpi_bytes_retrans + info.tcpi_notsent_bytes;
  return true;
}

}  // namespace sidesplice::sys
