#pragma once
// While it lives, the machines that a copy reads from hear how far it is.

#include <set>
#include <stop_token>

#include "base/progress.h"
#include "cli/remote_source.h"

namespace dupengine::cli {

class ToldPeers {
  public:
    ToldPeers(std::set<RemoteSource*> remotes, const Progress& progress, const std::stop_token& stop)
        : remotes_(std::move(remotes)) {
        for (RemoteSource* remote : remotes_)
            remote->watch(progress, stop);
    }
    ~ToldPeers() {
        for (RemoteSource* remote : remotes_)
            remote->unwatch();
    }
    ToldPeers(const ToldPeers&) = delete;
    ToldPeers& operator=(const ToldPeers&) = delete;

  private:
    const std::set<RemoteSource*> remotes_;
};

}  // namespace dupengine::cli
