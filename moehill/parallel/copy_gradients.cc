// Implementation of parallel/copy_gradients.h: gradients go to the home of their expert, the home adds them,
// and the sum comes back.
#include "moehill/parallel/copy_gradients.h"

#include <algorithm>
#include <cstring>

#include "moehill/base/partition.h"

namespace moehill {
namespace {

// Adds the parts' elements to own[i], in the order of the parts, and writes the sum to the parts as well. The
// sum is made in f32 and rounded once.
template <typename T>
void add_parts(T* own, const std::vector<char*>& parts, Range elements) {
  for (int64_t i = elements.begin; i < elements.end; ++i) {
    float sum = to_f32(own[i]);
    for (const char* part : parts) sum += to_f32(reinterpret_cast<const T*>(part)[i]);
    own[i] = from_f32<T>(sum);
    for (char* part : parts) reinterpret_cast<T*>(part)[i] = own[i];
  }
}

}  // namespace

CopyGradients::CopyGradients(const Placement& placement, const MlpWeights& gradients, int rank,
                             int num_devices)
    : gradients_(gradients), send_offsets_(1), receive_offsets_(1) {
  // The loop below makes two lists, both in the order of devices: the own places that send to a home, and the
  // home of each gradient that arrives. Every device computes both from the placement, so no message is
  // needed for them.
  const std::vector<int32_t> home = home_places(placement);
  const auto places_of = [&](int device) { return share(placement.num_places(), device, num_devices); };
  const auto is_on = [&](int32_t place, int device) {
    return places_of(device).begin <= place && place < places_of(device).end;
  };
  for (int d = 0; d < num_devices; ++d) {
    for (int64_t p = places_of(rank).begin; p < places_of(rank).end; ++p) {
      if (home[idx(p)] != p && is_on(home[idx(p)], d)) sent_.push_back(static_cast<int32_t>(p));
    }
    for (int64_t p = places_of(d).begin; p < places_of(d).end; ++p) {
      if (home[idx(p)] != p && is_on(home[idx(p)], rank)) home_.push_back(home[idx(p)]);
    }
    send_offsets_.push_back(std::ssize(sent_));
    receive_offsets_.push_back(std::ssize(home_));
  }
  // Without copies the lists are empty and no memory is taken; place_bytes_ = 0 then tells sum() that it has
  // nothing to do.
  if (num_copies(placement) == 0) return;
  for_each_part([&](const WeightView& part) { place_bytes_ += bytes_of(part); });
  parts_.reserve(home_.size());
  sent_data_.resize(sent_.size() * place_bytes_);
  received_data_.resize(home_.size() * place_bytes_);
  own_homes_ = home_;
  std::sort(own_homes_.begin(), own_homes_.end());
  own_homes_.erase(std::unique(own_homes_.begin(), own_homes_.end()), own_homes_.end());
}

size_t CopyGradients::bytes_of(const WeightView& part) {
  return idx(part.group_elements()) * dtype_bytes(part.dtype);
}

template <typename Visit>
void CopyGradients::for_each_part(const Visit& visit) const {
  for (const WeightView* part : gradients_.parts()) {
    if (part->data != nullptr) visit(*part);
  }
}

// A place is packed part by part, so that one exchange carries all matrices of its gradient.
void CopyGradients::copy(ThreadTeam& team, bool into_buffer) {
  team.parallel_for(std::ssize(sent_), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      char* buffer = sent_data_.data() + idx(i) * place_bytes_;
      for_each_part([&](const WeightView& part) {
        char* gradient = static_cast<char*>(part.data) + idx(sent_[idx(i)]) * bytes_of(part);
        into_buffer ? std::memcpy(buffer, gradient, bytes_of(part))
                    : std::memcpy(gradient, buffer, bytes_of(part));
        buffer += bytes_of(part);
      });
    }
  });
}

void CopyGradients::add(ThreadTeam& team) {
  for (const int32_t home : own_homes_) {
    size_t offset = 0;
    for_each_part([&](const WeightView& part) {
      parts_.clear();
      // Several copies may have the same home, so their parts are collected first.
      for (size_t i = 0; i < home_.size(); ++i) {
        if (home_[i] == home) parts_.push_back(received_data_.data() + i * place_bytes_ + offset);
      }
      char* own = static_cast<char*>(part.data) + idx(home) * bytes_of(part);
      team.parallel_for(part.group_elements(), [&](int64_t begin, int64_t end) {
        part.dtype == DType::f32 ? add_parts(reinterpret_cast<float*>(own), parts_, {begin, end})
                                 : add_parts(reinterpret_cast<bf16*>(own), parts_, {begin, end});
      });
      offset += bytes_of(part);
    });
  }
}

void CopyGradients::sum(Group& group) {
  if (place_bytes_ == 0) return;
  copy(group.team(), true);
  group.all_to_all(sent_data_.data(), send_offsets_, received_data_.data(), receive_offsets_, place_bytes_);
  add(group.team());
  group.all_to_all(received_data_.data(), receive_offsets_, sent_data_.data(), send_offsets_, place_bytes_);
  copy(group.team(), false);
}

}  // namespace moehill
