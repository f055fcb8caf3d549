// The system calls of kernel TLS (Documentation/networking/tls.rst). As in calls.h a negative result is an errno.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace sidesplice::sys {

enum class TlsWay { kSend, kReceive };

/** Makes a connection one that keys can be given to; until then it stays as it is. It can't be taken back. */
int AttachTls(int fd);
/** The key of one way, in the kernel's shape; given again it takes the place of the former, where the kernel can do that. */
int SetTlsKey(int fd, TlsWay way, std::span<const uint8_t> key);
/** What the kernel has for our records, as it stands: a key is in it. */
int GetTlsSendKey(int fd, std::span<uint8_t> into);
/** One type of records at a time. `type` is that of the records; 0 where nothing came, an end included. */
ssize_t ReceiveRecord(int fd, void* into, size_t bytes, uint8_t* type);
/** One whole record that is not application data, behind all that was sent before. */
ssize_t SendRecord(int fd, uint8_t type, const void* from, size_t bytes);
/** How many bytes of its stream a connection has been given, sent or not; false where the kernel can't tell. */
bool TcpBytesWritten(int fd, uint64_t* bytes);

}  // namespace sidesplice::sys
