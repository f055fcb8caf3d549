// A system call that was interrupted is made again; the negative errno where it fails.
#pragma once

#include <errno.h>

namespace sidesplice::sys {

template <typename Call>
auto Retried(Call call) {
  for (;;) {
    const auto result = call();
    if (result >= 0) return result;
    if (errno != EINTR) return static_cast<decltype(result)>(-errno);
  }
}

}  // namespace sidesplice::sys
