// The calls of the engine object, and its way out, however the process ends.
#include "binding/engine_object.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdlib>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "binding/convert.h"
#include "core/dial.h"
#include "sys/calls.h"

namespace sidesplice::binding {

namespace {

// listen(2) caps it at net.core.somaxconn.
constexpr int kBacklog = 4096;

/**
 * Engines that run. `process.exit` and an uncaught exception run no cleanup hook of an environment, but they run atexit handlers, OpenSSL's
 * among them: ours is registered later, so it runs earlier, and joins the threads before what they use is gone.
 */
struct Running {
  std::mutex mutex;
  std::set<core::Engine*> engines;

  static Running& Get() {
    // Never destroyed: it is used while others are.
    static auto* const kRunning = new Running();
    return *kRunning;
  }

  void Add(core::Engine* engine) {
    const std::lock_guard lock(mutex);
    static const int kRegistered = std::atexit([] { Get().CloseAll(); });
    (void)kRegistered;
    engines.insert(engine);
  }

  void Remove(core::Engine* engine) {
    const std::lock_guard lock(mutex);
    engines.erase(engine);
  }

  void CloseAll() {
    const std::lock_guard lock(mutex);
    for (core::Engine* engine : engines) engine->Close();
    engines.clear();
  }
};

Napi::Value ErrorName(Napi::Env env, int error) { return Napi::String::New(env, sys::ErrorName(error)); }

const char* ReasonOf(const std::string& reason) {
  return reason == "no_longer_allowed" ? "no_longer_allowed" : "shutdown";
}

}  // namespace

Napi::Function EngineObject::Define(Napi::Env env) {
  return DefineClass(env, "Engine",
                     {
                         InstanceMethod<&EngineObject::SetIdentity>("setIdentity"),
                         InstanceMethod<&EngineObject::SetGeneration>("setGeneration"),
                         InstanceMethod<&EngineObject::Bind>("bind"),
                         InstanceMethod<&EngineObject::ChangeListener>("changeListener"),
                         InstanceMethod<&EngineObject::CloseListener>("closeListener"),
                         InstanceMethod<&EngineObject::Admit>("admit"),
                         InstanceMethod<&EngineObject::Plan>("plan"),
                         InstanceMethod<&EngineObject::Refuse>("refuse"),
                         InstanceMethod<&EngineObject::AnswerLookup>("answerLookup"),
                         InstanceMethod<&EngineObject::Terminate>("terminate"),
                         InstanceMethod<&EngineObject::Sessions>("sessions"),
                         InstanceMethod<&EngineObject::SessionIds>("sessionIds"),
                         InstanceMethod<&EngineObject::MakeTally>("makeTally"),
                         InstanceMethod<&EngineObject::DropTally>("dropTally"),
                         InstanceMethod<&EngineObject::ReadTally>("readTally"),
                         InstanceMethod<&EngineObject::ReadEndpoints>("readEndpoints"),
                         InstanceMethod<&EngineObject::OwnedBytes>("ownedBytes"),
                         InstanceMethod<&EngineObject::NowMs>("nowMs"),
                         InstanceMethod<&EngineObject::Close>("close"),
                     });
}

EngineObject::EngineObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<EngineObject>(info) {
  const auto options = info[0].As<Napi::Object>();
  const auto number = [&](const char* key) { return options.Get(key).As<Napi::Number>().Int64Value(); };
  wake_ = Napi::ThreadSafeFunction::New(info.Env(), info[1].As<Napi::Function>(), "sidesplice", 0, 1);
  int error = 0;
  engine_ = core::Engine::Open({.workers = static_cast<unsigned>(number("workers")),
                                .handshake_threads = static_cast<unsigned>(number("handshakeThreads")),
                                .rekey_after_records = static_cast<uint64_t>(number("rekeyAfterRecords")),
                                .kernel = {.ciphers = static_cast<uint8_t>(number("kernelCiphers")),
                                           .rekeys = options.Get("kernelRekeys").ToBoolean().Value()},
                                .buffer_memory = static_cast<uint64_t>(number("bufferMemory")),
                                .wake =
                                    [this, awake = awake_] {
                                      if (!awake->load()) return;
                                      // Not `this` unless awake: a call may still be queued when all is closed and collected.
                                      wake_.NonBlockingCall([this, awake](Napi::Env env, Napi::Function on_batch) {
                                        if (awake->load()) Deliver(env, on_batch);
                                      });
                                    }},
                               &error);
  if (engine_ == nullptr) {
    wake_.Release();
    Napi::Error::New(info.Env(), sys::ErrorName(error)).ThrowAsJavaScriptException();
    return;
  }
  Running::Get().Add(engine_.get());
  // Behind the function's own hook, so that it runs before it.
  napi_add_env_cleanup_hook(info.Env(), ShutAtCleanup, this);
  // Closed by its owner: until then it is not collected, whoever lost sight of it.
  Ref();
}

EngineObject::~EngineObject() { Shut(); }

void EngineObject::ShutAtCleanup(void* object) { static_cast<EngineObject*>(object)->Shut(); }

/** Ends the threads without a word to JavaScript. */
void EngineObject::Shut() {
  awake_->store(false);
  if (engine_ == nullptr) return;
  Running::Get().Remove(engine_.get());
  engine_->Close();
  engine_.reset();
}

void EngineObject::SetIdentity(const Napi::CallbackInfo& info) {
  if (engine_ == nullptr) return;
  const std::string chain = info[0].As<Napi::String>().Utf8Value();
  const auto key = info[1].As<Napi::Buffer<char>>();
  const std::string roots = info[2].As<Napi::String>().Utf8Value();
  std::string why;
  auto identity = tls::Identity::Build({.chain_pem = chain,
                                        .key_pem = std::string_view(key.Data(), key.Length()),
                                        .roots_pem = roots,
                                        .groups = info[3].As<Napi::String>().Utf8Value(),
                                        .resumption = info[4].ToBoolean().Value()},
                                       &why);
  if (identity == nullptr) {
    Napi::Error::New(info.Env(), why).ThrowAsJavaScriptException();
    return;
  }
  if (engine_ != nullptr) engine_->SetIdentity(std::move(identity));
}

void EngineObject::SetGeneration(const Napi::CallbackInfo& info) {
  if (engine_ == nullptr) return;
  engine_->SetGeneration(static_cast<core::Generation>(info[0].As<Napi::Number>().Int64Value()));
}

/** `bind(host, port, spec, tally)`: `{ id, port }`, or the name of the error. The host is an IP address, or `unix:` and a path. */
Napi::Value EngineObject::Bind(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (engine_ == nullptr) return ErrorName(env, ECANCELED);
  const core::Address address{.host = info[0].As<Napi::String>().Utf8Value(),
                              .port = static_cast<uint16_t>(info[1].As<Napi::Number>().Uint32Value())};
  std::optional<core::SocketAddress> parsed = core::ParseAddress(address);
  if (!parsed) return ErrorName(env, EINVAL);
  sys::Fd fd(sys::Socket(parsed->storage.ss_family));
  if (!fd.valid()) return ErrorName(env, -fd.get());
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  auto* where = reinterpret_cast<sockaddr*>(&parsed->storage);
  if (bind(fd.get(), where, parsed->length) != 0 || listen(fd.get(), kBacklog) != 0) return ErrorName(env, errno);
  socklen_t length = sizeof(parsed->storage);
  getsockname(fd.get(), where, &length);
  const uint16_t port = parsed->storage.ss_family == AF_UNIX
                            ? 0
                            : ntohs(reinterpret_cast<const sockaddr_in*>(&parsed->storage)->sin_port);
  const uint32_t id = next_listener_++;
  engine_->AddListener(id, std::move(fd), ToListenerSpec(info[2].As<Napi::Object>()), Tally(info[3]));
  Napi::Object bound = Napi::Object::New(env);
  bound.Set("id", id);
  bound.Set("port", port);
  return bound;
}

void EngineObject::ChangeListener(const Napi::CallbackInfo& info) {
  if (engine_ == nullptr) return;
  engine_->ChangeListener(info[0].As<Napi::Number>().Uint32Value(), ToListenerSpec(info[1].As<Napi::Object>()),
                          Tally(info[2]));
}

void EngineObject::CloseListener(const Napi::CallbackInfo& info) {
  if (engine_ == nullptr) return;
  engine_->CloseListener(info[0].As<Napi::Number>().Uint32Value(), info[1].ToBoolean().Value());
}

void EngineObject::Admit(const Napi::CallbackInfo& info) {
  if (engine_ != nullptr) engine_->Give(ToAdmission(info));
}

void EngineObject::Plan(const Napi::CallbackInfo& info) {
  if (engine_ != nullptr) engine_->Give(ToPlan(info));
}

void EngineObject::Refuse(const Napi::CallbackInfo& info) {
  if (engine_ != nullptr) engine_->Give(ToRefusal(info));
}

/** `answerLookup(session, host, addresses, error)` */
void EngineObject::AnswerLookup(const Napi::CallbackInfo& info) {
  if (engine_ == nullptr) return;
  std::vector<core::SocketAddress> addresses;
  const auto hosts = info[2].As<Napi::Array>();
  for (uint32_t at = 0; at < hosts.Length(); at++) {
    const auto parsed = core::ParseAddress({.host = hosts.Get(at).As<Napi::String>().Utf8Value(), .port = 0});
    if (parsed) addresses.push_back(*parsed);
  }
  engine_->GiveAddresses(static_cast<core::SessionId>(info[0].As<Napi::Number>().Int64Value()),
                         info[1].As<Napi::String>().Utf8Value(), std::move(addresses), info[3].As<Napi::String>().Utf8Value());
}

Napi::Value EngineObject::Terminate(const Napi::CallbackInfo& info) {
  if (engine_ == nullptr) return Napi::Number::New(info.Env(), 0);
  std::vector<core::SessionId> sessions;
  const auto ids = info[0].As<Napi::Array>();
  for (uint32_t at = 0; at < ids.Length(); at++)
    sessions.push_back(static_cast<core::SessionId>(ids.Get(at).As<Napi::Number>().Int64Value()));
  const char* reason = ReasonOf(info[1].As<Napi::String>().Utf8Value());
  return Napi::Number::New(info.Env(), static_cast<double>(engine_->Terminate(sessions, reason)));
}

Napi::Value EngineObject::Sessions(const Napi::CallbackInfo& info) {
  if (engine_ == nullptr) return Napi::Array::New(info.Env());
  return FromViews(info.Env(), engine_->Sessions());
}

Napi::Value EngineObject::SessionIds(const Napi::CallbackInfo& info) {
  Napi::Array array = Napi::Array::New(info.Env());
  if (engine_ == nullptr) return array;
  for (const core::SessionId id : engine_->SessionIds()) array.Set(array.Length(), static_cast<double>(id));
  return array;
}

Napi::Value EngineObject::MakeTally(const Napi::CallbackInfo& info) {
  tallies_[next_tally_] = std::make_shared<core::ListenerTally>();
  return Napi::Number::New(info.Env(), next_tally_++);
}

void EngineObject::DropTally(const Napi::CallbackInfo& info) {
  tallies_.erase(info[0].As<Napi::Number>().Uint32Value());
}

std::shared_ptr<core::ListenerTally> EngineObject::Tally(const Napi::Value& id) const {
  const auto found = tallies_.find(id.As<Napi::Number>().Uint32Value());
  return found != tallies_.end() ? found->second : std::make_shared<core::ListenerTally>();
}

Napi::Value EngineObject::ReadTally(const Napi::CallbackInfo& info) { return FromTally(info.Env(), *Tally(info[0])); }

Napi::Value EngineObject::ReadEndpoints(const Napi::CallbackInfo& info) {
  return FromEndpoints(info.Env(), Tally(info[0])->Endpoints());
}

Napi::Value EngineObject::OwnedBytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), engine_ == nullptr ? 0 : static_cast<double>(engine_->OwnedBytes()));
}

Napi::Value EngineObject::NowMs(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), core::NowMs()); }

/** Every record is delivered before it returns. */
void EngineObject::Close(const Napi::CallbackInfo& info) {
  if (engine_ == nullptr) return;
  const Napi::Env env = info.Env();
  awake_->store(false);
  Running::Get().Remove(engine_.get());
  engine_->Close();
  Deliver(env, info[0].As<Napi::Function>());
  engine_.reset();
  napi_remove_env_cleanup_hook(env, ShutAtCleanup, this);
  wake_.Release();
  Unref();
}

void EngineObject::Deliver(Napi::Env env, const Napi::Function& on_batch) {
  const Napi::HandleScope scope(env);
  const core::Batch batch = engine_->Take();
  if (!batch.empty()) on_batch.Call({FromBatch(env, batch)});
}

}  // namespace sidesplice::binding
