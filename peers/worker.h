// This header is the worker's side of ./compare for C++ libraries, with the protocol, errors and cold caches
// of worker.py.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace peers {

// Rows is a matrix [rows, columns] of row-major floats.
struct Rows {
  const float* data;
  int64_t rows, columns;
};

// Returns the largest over the rows of |row - reference| / max(|reference|, its median over the rows).
inline double row_error(const Rows& result, const Rows& reference) {
  std::vector<double> difference, norm, sorted;
  for (int64_t r = 0; r < reference.rows; ++r) {
    double d = 0, n = 0;
    for (int64_t i = r * reference.columns; i < (r + 1) * reference.columns; ++i) {
      const double value = reference.data[i];
      d += (result.data[i] - value) * (result.data[i] - value);
      n += value * value;
    }
    difference.push_back(std::sqrt(d));
    norm.push_back(std::sqrt(n));
  }
  sorted = norm;
  std::nth_element(sorted.begin(), sorted.begin() + sorted.size() / 2, sorted.end());
  double worst = 0;
  for (size_t r = 0; r < norm.size(); ++r) {
    worst = std::max(worst, difference[r] / std::max(norm[r], sorted[sorted.size() / 2]));
  }
  return worst;
}

// ColdCaches is memory whose reading leaves nothing older in the caches; ./compare says how much that is.
class ColdCaches {
 public:
  ColdCaches() : memory_(std::strtoull(std::getenv("COLD_BYTES"), nullptr, 10) / sizeof(uint64_t), 1) {}
  void operator()() {
    uint64_t sum = 0;
    for (uint64_t value : memory_) sum += value;
    sum_ = sum;
  }

 private:
  std::vector<uint64_t> memory_;
  volatile uint64_t sum_ = 0;
};

struct Peer {
  std::string version, instructions;
  std::function<double(const std::string& what)> check;  // the relative error of WHAT
  std::string tensor;                                    // that the error is of
  std::function<void(const std::string& what)> step;
};

inline void serve(const Peer& peer) {
  std::cout << R"({"version": ")" << peer.version << R"(", "instructions": ")" << peer.instructions << "\"}"
            << std::endl;
  ColdCaches cold;
  std::string line, command, what;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    int count = 0;
    words >> command >> what >> count;
    if (command == "check") {
      std::cout << R"({"deviation": {")" << peer.tensor << "\": " << peer.check(what) << "}}" << std::endl;
      continue;
    }
    std::cout << R"({"seconds": [)";
    for (int i = 0; i < count; ++i) {
      cold();
      const auto begin = std::chrono::steady_clock::now();
      peer.step(what);
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
      std::cout << (i ? ", " : "") << seconds.count();
    }
    std::cout << "]}" << std::endl;
  }
}

}  // namespace peers
