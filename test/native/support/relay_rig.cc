// A relay on its own.
#include "support/relay_rig.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>

namespace sidesplice::test {

bool RecordPeer::SendKeyUpdate(bool asks) {
  return Send(tls::ContentType::kHandshake, {24, 0, 0, 1, static_cast<uint8_t>(asks ? 1 : 0)}) && write->Update();
}

std::optional<RecordPeer::Record> RecordPeer::Next() {
  Stream header = ReadUpTo(fd.get(), tls::kHeaderBytes);
  end = header.end;
  if (header.bytes.size() < tls::kHeaderBytes) return std::nullopt;
  const Stream body = ReadUpTo(fd.get(), static_cast<size_t>(header.bytes[3]) << 8 | header.bytes[4]);
  end = body.end;
  header.bytes.insert(header.bytes.end(), body.bytes.begin(), body.bytes.end());
  const tls::Opened opened = read->Open(header.bytes);
  if (opened.refused) return std::nullopt;
  if (opened.type == tls::ContentType::kHandshake && !opened.payload.empty() && opened.payload[0] == 24) {
    key_updates++;
    if (!read->Update()) return std::nullopt;
  }
  return Record{opened.type, Bytes(opened.payload.begin(), opened.payload.end())};
}

Bytes RecordPeer::ReadData(size_t bytes) {
  Bytes all;
  while (all.size() < bytes) {
    last = Next();
    if (!last) break;
    if (last->type == tls::ContentType::kHandshake) continue;
    if (last->type != tls::ContentType::kApplicationData) break;
    all.insert(all.end(), last->payload.begin(), last->payload.end());
  }
  return all;
}

RelayRig::RelayRig(RigOptions options) : memory_(options.buffer_memory), pipes_(options.most_pipes) {
  auto spec = std::make_shared<core::ListenerSpec>();
  spec->key = "rig";
  spec->inbound = options.inbound;
  spec->half_close_timeout_ms = options.half_close_timeout_ms;
  spec->idle_timeout_ms = options.idle_timeout_ms;
  shared_ = std::make_shared<core::SessionShared>(1, spec, std::make_shared<core::ListenerTally>());

  auto legs = std::make_shared<core::Legs>();
  std::tie(legs->plain, app) = TcpPair();
  std::tie(legs->tls, peer.fd) = TcpPair();
  legs->tickets = std::move(options.tickets);
  std::tie(legs->read, peer.write) = KeyPair(options.version, options.aead, 1);
  std::tie(legs->write, peer.read) = KeyPair(options.version, options.aead, 2);
  if (reactor_.Start("rig", 0) != 0) {
    std::fputs("no reactor\n", stderr);
    std::abort();
  }
  OnThread([this, legs, &options] {
    core::Session session;
    session.shared = shared_;
    const core::Relay::Home home{reactor_, lingering_, scratch_, moved_, options.rekey_after_records, pipes_, ledger_, parking_, slumber_};
    auto on_end = [this](core::Session ended, core::RelayEnd end, sys::Fd downstream) {
      relay_ = nullptr;
      spliced_bytes_ = ended.spliced_bytes;
      given_back_ = std::move(downstream);
      ended_.set_value(std::move(end));
    };
    if (!options.kernel) {
      relay_ = core::RecordRelay::Begin(home, std::move(session), std::move(*legs), std::move(on_end));
      return;
    }
    core::KernelLeg leg;
    if (leg.Take(legs->tls.get(), &legs->read, &legs->write, options.kernel_rekeys) != core::KernelLeg::Result::kTaken) {
      std::fputs("no kernel TLS\n", stderr);
      std::abort();
    }
    relay_ = core::SpliceRelay::Begin(home, std::move(session), std::move(*legs), std::move(leg), false, std::move(on_end));
  });
}

RelayRig::~RelayRig() {
  Terminate("shutdown");
  OnThread([this] { lingering_.Cut(); });
  reactor_.Stop();
}

void RelayRig::OnThread(std::function<void()> task) {
  std::promise<void> done;
  reactor_.Post([&] {
    task();
    done.set_value();
  });
  done.get_future().wait();
}

void RelayRig::Terminate(const char* reason) {
  OnThread([this, reason] {
    if (relay_ != nullptr) relay_->Terminate(reason);
  });
}

void RelayRig::Rest() {
  OnThread([this] {
    if (relay_ != nullptr) relay_->Rest();
  });
}

bool RelayRig::has_ended() const { return end_.wait_for(std::chrono::seconds(0)) == std::future_status::ready; }

std::optional<core::RelayEnd> RelayRig::Ended() {
  if (end_.wait_for(std::chrono::milliseconds(kPatienceMs)) != std::future_status::ready) return std::nullopt;
  return end_.get();
}

}  // namespace sidesplice::test
