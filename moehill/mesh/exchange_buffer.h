// Exchange memory where all peers share one address space: any memory will do.
#pragma once

#include <memory>

#include "moehill/tensor/buffer.h"

namespace moehill {

inline std::shared_ptr<void> make_exchange_buffer(size_t bytes) {
  const auto buffer = std::make_shared<Buffer>(bytes);
  return {buffer, buffer->data()};
}

}  // namespace moehill
