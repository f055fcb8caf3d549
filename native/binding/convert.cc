// One function a shape.
#include "binding/convert.h"

#include <optional>
#include <string>

#include "binding/json.h"

namespace sidesplice::binding {

namespace {

std::string Text(const Napi::Object& of, const char* key) {
  const Napi::Value value = of.Get(key);
  return value.IsString() ? value.As<Napi::String>().Utf8Value() : std::string();
}

double Number(const Napi::Object& of, const char* key) {
  const Napi::Value value = of.Get(key);
  return value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : 0;
}

std::string Text(const Napi::Value& value) { return value.As<Napi::String>().Utf8Value(); }

std::optional<std::string> MaybeText(const Napi::Value& value) {
  if (!value.IsString()) return std::nullopt;
  return Text(value);
}

double Number(const Napi::Value& value) { return value.As<Napi::Number>().DoubleValue(); }

core::Answer AnswerOf(const Napi::CallbackInfo& info, bool admitted) {
  core::Answer answer;
  answer.session = static_cast<core::SessionId>(Number(info[0]));
  answer.generation = static_cast<core::Generation>(Number(info[1]));
  answer.admitted = admitted;
  return answer;
}

core::PlannedAttempt ToAttempt(const Napi::Array& value) {
  core::PlannedAttempt attempt{.endpoint = Text(value.Get(0u)),
                               .address = {.host = Text(value.Get(1u)), .port = static_cast<uint16_t>(Number(value.Get(2u)))},
                               .expect = {},
                               .server_name = Text(value.Get(3u)),
                               .time_limit_ms = Number(value.Get(4u))};
  for (uint32_t at = 5; at < value.Length(); at++) attempt.expect.push_back(Text(value.Get(at)));
  return attempt;
}

/** What a peer wrote into its certificate: bytes, each a character, so that none is lost or made up. */
Napi::Value Latin1(Napi::Env env, const std::string& text) {
  napi_value value = nullptr;
  napi_create_string_latin1(env, text.data(), text.size(), &value);
  return {env, value};
}

void Set(Napi::Object& of, const char* key, const std::optional<std::string>& text) {
  if (text) of.Set(key, Latin1(of.Env(), *text));
}

const char* NameOf(core::SessionState state) {
  switch (state) {
    case core::SessionState::kHandshaking:
      return "handshaking";
    case core::SessionState::kDeciding:
      return "deciding";
    case core::SessionState::kDialing:
      return "dialing";
    case core::SessionState::kRelaying:
      return "relaying";
  }
  return "";
}

Napi::Object FromView(Napi::Env env, const core::SessionView& view) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("id", static_cast<double>(view.id));
  object.Set("listener", view.listener);
  object.Set("name", view.name);
  object.Set("direction", view.inbound ? "inbound" : "outbound");
  object.Set("startedAt", view.started_at);
  object.Set("bytesToUpstream", static_cast<double>(view.bytes_to_upstream));
  object.Set("bytesToDownstream", static_cast<double>(view.bytes_to_downstream));
  Set(object, "peer", view.peer);
  Set(object, "downstream", view.downstream);
  Set(object, "endpoint", view.endpoint);
  return object;
}

void PutView(Json& json, const core::SessionView& view) {
  json.Number("id", view.id);
  json.Text("listener", view.listener);
  json.Text("name", view.name);
  json.Text("direction", view.inbound ? "inbound" : "outbound");
  json.Number("startedAt", view.started_at);
  json.Number("bytesToUpstream", view.bytes_to_upstream);
  json.Number("bytesToDownstream", view.bytes_to_downstream);
  json.Bytes("peer", view.peer);
  json.Bytes("downstream", view.downstream);
  json.Bytes("endpoint", view.endpoint);
}

void PutAttempt(Json& json, const core::AttemptRecord& attempt) {
  json.Text("endpoint", attempt.endpoint);
  json.Text("outcome", attempt.outcome);
  json.Bytes("detail", attempt.detail);
  json.Number("connectMs", attempt.connect_ms);
  json.Number("handshakeMs", attempt.handshake_ms);
}

template <typename Item, typename Put>
void PutAll(Json& json, const char* key, const std::vector<Item>& items, Put put) {
  json.Key(key);
  json.Open('[');
  for (const Item& item : items) {
    json.Open('{');
    put(item);
    json.Close('}');
  }
  json.Close(']');
}

void PutRecord(Json& json, const core::Record& record) {
  PutView(json, record.view);
  json.Text("reason", record.reason);
  json.Bool("relayed", record.relayed);
  json.Text("relay", record.relay);
  if (record.spliced_bytes > 0) json.Number("splicedBytes", record.spliced_bytes);
  PutAll(json, "attempts", record.attempts, [&](const core::AttemptRecord& attempt) { PutAttempt(json, attempt); });
  json.Number("durationMs", record.duration_ms);
  if (!record.tls_version.empty()) json.Text("tlsVersion", record.tls_version);
  if (!record.cipher.empty()) json.Text("cipher", record.cipher);
  if (record.resumed) json.Bool("resumed", true);
  json.Bytes("detail", record.detail);
  json.Number("policyMs", record.policy_ms);
  json.Number("connectMs", record.connect_ms);
  json.Number("handshakeMs", record.handshake_ms);
}

void PutBatch(Json& json, const core::Batch& batch) {
  PutAll(json, "admit", batch.admit, [&](const core::AdmitQuestion& question) {
    json.Number("session", question.session);
    json.Text("listener", question.listener);
    json.Key("uriSans");
    json.Open('[');
    for (const std::string& uri : question.uri_sans) json.Bytes(uri);
    json.Close(']');
    json.Text("serial", question.serial);
  });
  PutAll(json, "route", batch.route, [&](const core::RouteQuestion& question) {
    json.Number("session", question.session);
    json.Text("listener", question.listener);
  });
  PutAll(json, "lookup", batch.lookup, [&](const core::LookupQuestion& question) {
    json.Number("session", question.session);
    json.Text("host", question.host);
  });
  PutAll(json, "ended", batch.ended, [&](const core::Record& record) { PutRecord(json, record); });
  json.Key("closed");
  json.Open('[');
  for (const uint32_t id : batch.closed) json.Number(uint64_t{id});
  json.Close(']');
}

template <typename Item, typename Convert>
Napi::Array FromAll(Napi::Env env, const std::vector<Item>& items, Convert convert) {
  Napi::Array array = Napi::Array::New(env, items.size());
  for (uint32_t at = 0; at < items.size(); at++) {
    // Values of one item live no longer than it takes to make it.
    const Napi::HandleScope scope(env);
    array.Set(at, convert(items[at]));
  }
  return array;
}

}  // namespace

core::ListenerSpec ToListenerSpec(const Napi::Object& value) {
  return {.key = Text(value, "key"),
          .name = Text(value, "name"),
          .inbound = Text(value, "direction") == "inbound",
          .handshake_timeout_ms = Number(value, "handshakeTimeoutMs"),
          .half_close_timeout_ms = Number(value, "halfCloseTimeoutMs"),
          .idle_timeout_ms = Number(value, "idleTimeoutMs"),
          .max_waiting = static_cast<uint32_t>(Number(value, "maxWaiting"))};
}

core::Answer ToAdmission(const Napi::CallbackInfo& info) {
  core::Answer answer = AnswerOf(info, true);
  answer.peer = Text(info[2]);
  answer.target = {.host = Text(info[3]), .port = static_cast<uint16_t>(Number(info[4]))};
  answer.connect_timeout_ms = Number(info[5]);
  return answer;
}

core::Answer ToPlan(const Napi::CallbackInfo& info) {
  core::Answer answer = AnswerOf(info, true);
  answer.connect_timeout_ms = Number(info[2]);
  const auto attempts = info[3].As<Napi::Array>();
  for (uint32_t at = 0; at < attempts.Length(); at++) answer.attempts.push_back(ToAttempt(attempts.Get(at).As<Napi::Array>()));
  return answer;
}

core::Answer ToRefusal(const Napi::CallbackInfo& info) {
  core::Answer answer = AnswerOf(info, false);
  answer.reason = Text(info[2]);
  answer.detail = MaybeText(info[3]);
  answer.peer = MaybeText(info[4]);
  return answer;
}

Napi::Value FromBatch(Napi::Env env, const core::Batch& batch) {
  Json json;
  json.Open('{');
  PutBatch(json, batch);
  json.Close('}');
  napi_value value = nullptr;
  napi_create_string_utf8(env, json.text().data(), json.text().size(), &value);
  return {env, value};
}

Napi::Object FromFacts(Napi::Env env, const core::KernelFacts& facts) {
  Napi::Object object = Napi::Object::New(env);
  if (!facts.why.empty()) object.Set("why", facts.why);
  object.Set("rekeys", facts.rekeys);
  Napi::Array ciphers = Napi::Array::New(env, facts.ciphers.size());
  for (uint32_t at = 0; at < facts.ciphers.size(); at++) {
    Napi::Object cipher = Napi::Object::New(env);
    cipher.Set("correct", facts.ciphers[at].correct);
    cipher.Set("speed", facts.ciphers[at].speed);
    ciphers.Set(at, cipher);
  }
  object.Set("ciphers", ciphers);
  return object;
}

Napi::Array FromViews(Napi::Env env, const std::vector<core::SessionView>& views) {
  return FromAll(env, views, [&](const core::SessionView& view) {
    Napi::Object object = FromView(env, view);
    object.Set("state", NameOf(view.state));
    return object;
  });
}

Napi::Object FromTally(Napi::Env env, const core::ListenerTally& tally) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("accepted", static_cast<double>(tally.accepted));
  object.Set("open", static_cast<double>(tally.open));
  object.Set("waiting", static_cast<double>(tally.waiting));
  object.Set("bytesToUpstream", static_cast<double>(tally.bytes_to_upstream));
  object.Set("bytesToDownstream", static_cast<double>(tally.bytes_to_downstream));
  return object;
}

Napi::Array FromEndpoints(Napi::Env env, const std::vector<core::EndpointCounts>& endpoints) {
  return FromAll(env, endpoints, [&](const core::EndpointCounts& endpoint) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("name", endpoint.name);
    object.Set("open", static_cast<double>(endpoint.open));
    object.Set("dialing", static_cast<double>(endpoint.dialing));
    object.Set("attempts", static_cast<double>(endpoint.attempts));
    object.Set("failures", static_cast<double>(endpoint.failures));
    object.Set("consecutiveFailures", static_cast<double>(endpoint.consecutive_failures));
    object.Set("failingSince", endpoint.failing_since);
    object.Set("lastFailureAt", endpoint.last_failure_at);
    return object;
  });
}

}  // namespace sidesplice::binding
