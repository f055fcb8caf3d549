// The engine as an object of JavaScript.
#pragma once

#include <napi.h>

#include <atomic>
#include <map>
#include <memory>

#include "core/engine.h"

namespace sidesplice::binding {

class EngineObject final : public Napi::ObjectWrap<EngineObject> {
 public:
  static Napi::Function Define(Napi::Env env);

  /** `new Engine({ workers, handshakeThreads, rekeyAfterRecords, kernelCiphers, kernelRekeys }, onBatch)` */
  explicit EngineObject(const Napi::CallbackInfo& info);
  ~EngineObject() override;

 private:
  void SetIdentity(const Napi::CallbackInfo& info);
  void SetGeneration(const Napi::CallbackInfo& info);
  Napi::Value Bind(const Napi::CallbackInfo& info);
  void ChangeListener(const Napi::CallbackInfo& info);
  void CloseListener(const Napi::CallbackInfo& info);
  void Admit(const Napi::CallbackInfo& info);
  void Plan(const Napi::CallbackInfo& info);
  void Refuse(const Napi::CallbackInfo& info);
  void AnswerLookup(const Napi::CallbackInfo& info);
  Napi::Value Terminate(const Napi::CallbackInfo& info);
  Napi::Value Sessions(const Napi::CallbackInfo& info);
  Napi::Value SessionIds(const Napi::CallbackInfo& info);
  Napi::Value MakeTally(const Napi::CallbackInfo& info);
  void DropTally(const Napi::CallbackInfo& info);
  Napi::Value ReadTally(const Napi::CallbackInfo& info);
  Napi::Value ReadEndpoints(const Napi::CallbackInfo& info);
  Napi::Value OwnedBytes(const Napi::CallbackInfo& info);
  Napi::Value NowMs(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo& info);

  void Deliver(Napi::Env env, const Napi::Function& on_batch);
  void Shut();
  static void ShutAtCleanup(void* object);
  [[nodiscard]] std::shared_ptr<core::ListenerTally> Tally(const Napi::Value& id) const;

  std::unique_ptr<core::Engine> engine_;
  Napi::ThreadSafeFunction wake_;
  std::map<uint32_t, std::shared_ptr<core::ListenerTally>> tallies_;
  uint32_t next_tally_ = 1;
  uint32_t next_listener_ = 1;
  std::shared_ptr<std::atomic<bool>> awake_ = std::make_shared<std::atomic<bool>>(true);
};

}  // namespace sidesplice::binding
