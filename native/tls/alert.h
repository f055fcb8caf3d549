// TLS alerts by number and name (RFC 8446 section 6, RFC 5246 section 7.2).
#pragma once

#include <cstdint>
#include <string>

namespace sidesplice::tls {

enum class Alert : uint8_t {
  kCloseNotify = 0,
  kUnexpectedMessage = 10,
  kBadRecordMac = 20,
  kRecordOverflow = 22,
  kIllegalParameter = 47,
  kAccessDenied = 49,
  kDecodeError = 50,
  kInternalError = 80,
  kUserCanceled = 90,
  kNoRenegotiation = 100,
};

inline constexpr uint8_t kWarning = 1;
inline constexpr uint8_t kFatal = 2;

/** `access_denied`; a number that has no name is that number. */
std::string AlertName(uint8_t alert);
/** Whether a server refuses a client's certificate, or its holder, by it (RFC 8446 section 6.2). */
bool IsAboutCertificate(uint8_t alert);

}  // namespace sidesplice::tls
