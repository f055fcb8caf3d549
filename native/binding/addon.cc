// What the addon exports.
#include <napi.h>
#include <openssl/crypto.h>

#include "binding/engine_object.h"

namespace {

Napi::Object Export(Napi::Env env, Napi::Object exports) {
  exports.Set("Engine", sidesplice::binding::EngineObject::Define(env));
  // Of the library that the symbols were bound to, not of the headers.
  exports.Set("openssl", OpenSSL_version(OPENSSL_VERSION_STRING));
  return exports;
}

}  // namespace

NODE_API_MODULE(sidesplice, Export)
