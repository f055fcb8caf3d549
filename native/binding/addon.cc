// What the addon exports.
#include <napi.h>
#include <openssl/crypto.h>

#include "binding/convert.h"
#include "binding/engine_object.h"
#include "core/kernel_probe.h"

namespace {

Napi::Object Export(Napi::Env env, Napi::Object exports) {
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
