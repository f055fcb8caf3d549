// What the addon exports.
#include <malloc.h>
#include <napi.h>
#include <openssl/crypto.h>

#include <cstdlib>

#include "binding/convert.h"
#include "binding/engine_object.h"
#include "core/aead_speed.h"
#include "core/kernel_probe.h"
#include "core/startup_memory.h"
#include "tls/aead.h"

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
  exports.Set("chooseAes", Napi::Function::New(env, [](const Napi::CallbackInfo& info) {
                sidesplice::tls::UseOpenSslOnly(info[0].As<Napi::String>().Utf8Value() == "openssl");
                return Napi::String::New(info.Env(), sidesplice::tls::UsesVaesGcm() ? "vaes" : "openssl");
              }));
  exports.Set("aeadSpeed", Napi::Function::New(env, [](const Napi::CallbackInfo& info) {
                const auto aead = static_cast<sidesplice::tls::Aead>(info[0].As<Napi::Number>().Uint32Value());
                const double seconds = info[1].As<Napi::Number>().DoubleValue();
                return Napi::Number::New(info.Env(), sidesplice::core::AeadSpeed(aead, seconds));
              }));
  exports.Set("letGoOfStartup", Napi::Function::New(env, [](const Napi::CallbackInfo&) { sidesplice::core::LetGoOfStartup(); }));
  // Of the library that the symbols were bound to, not of the headers.
  exports.Set("openssl", OpenSSL_version(OPENSSL_VERSION_STRING));
  return exports;
}

}  // namespace

NODE_API_MODULE(sidesplice, Export)
