// What the addon exports.
#include <malloc.h>
#include <napi.h>
#include <openssl/crypto.h>

#include <cstdlib>

#include "binding/convert.h"
#include "binding/engine_object.h"
#include "core/kernel_probe.h"

namespace {

/**
 * glibc gives each thread a heap of its own, up to eight a CPU. What a session takes from one and gives back in another thread leaves holes in all
 * of them; four lock as seldom as sixteen do, and hold less (mallopt(3)). Who has said otherwise by MALLOC_ARENA_MAX is heard.
 */
void ShareHeaps() {
#ifdef M_ARENA_MAX
  constexpr int kHeaps = 4;
  if (std::getenv("MALLOC_ARENA_MAX") == nullptr) mallopt(M_ARENA_MAX, kHeaps);
#endif
}

Napi::Object Export(Napi::Env env, Napi::Object exports) {
  ShareHeaps();
  exports.Set("Engine", sidesplice::binding::EngineObject::Define(env));
  exports.Set("probeKernelTls", Napi::Function::New(env, [](const Napi::CallbackInfo& info) {
                return sidesplice::binding::FromFacts(info.Env(), sidesplice::core::ProbeKernelTls());
              }));
  // Of the library that the symbols were bound to, not of the headers.
  exports.Set("openssl", OpenSSL_version(OPENSSL_VERSION_STRING));
  return exports;
}

}  // namespace

NODE_API_MODULE(sidesplice, Export)
