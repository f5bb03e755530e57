// This header reads and fills the caller's structs, which may be older than the library's. Structs of the
// interface grow at their end, and struct_size says how much of a struct the program knows, so old programs
// keep working with a newer library. A new member has to lie wholly behind the size of the last version,
// because the padding at the end of an old struct may hold anything.
//
//     moehill_block_desc full;
//     moehill_block_desc_init(&full);
//     full = over_defaults(given, full, "the block's description", offsetof(moehill_block_desc, dtype));
#pragma once

#include <algorithm>
#include <cstring>

#include "moehill/api/failure.h"
#include "moehill/base/error.h"

namespace moehill {

// StructSizes are the sizes that a caller's struct may have: from `smallest`, which every caller knows, to
// `known`, the size of the library's struct. The size of a struct is a multiple of its alignment, `step`.
// Between two multiples a size could end inside of a member, and half a pointer is the address of nothing.
struct StructSizes {
  size_t smallest, known, step;
};

// Throws Failure for a size that the caller's struct cannot have.
inline void require_size(const char* what, size_t got, const StructSizes& sizes, const char* setter) {
  const auto [smallest, known, step] = sizes;
  if (got >= smallest && got <= known && got % step == 0) return;
  throw invalid(fmt::format("struct_size of {}", what), fmt::format("{}", got),
                fmt::format("{} to {} in steps of {}", smallest, known, step),
                got <= known ? fmt::format("set it by {}", setter)
                             : fmt::format("set it by {}; where that was done, the program's header is newer "
                                           "than this library: install a newer one",
                                           setter));
}

// Copies the caller's struct over `full`, the library's, which holds the defaults. Members before the offset
// `smallest` have no default.
template <typename Struct>
Struct over_defaults(const Struct* given, Struct full, const char* what, size_t smallest,
                     const char* setter = "sizeof") {
  if (given == nullptr) throw null_argument(what);
  require_size(what, given->struct_size, {smallest, sizeof full, alignof(Struct)}, setter);
  std::memcpy(&full, given, given->struct_size);
  full.struct_size = sizeof full;
  return full;
}

// Fills as much of the caller's struct as the caller knows.
template <typename Info>
void give(const Info& info, Info* out) {
  if (out == nullptr) throw null_argument("the struct to fill");
  const size_t size = out->struct_size;
  require_size("the struct to fill", size, {sizeof(size_t), sizeof info, alignof(Info)}, "sizeof");
  std::memcpy(out, &info, size);
  out->struct_size = size;
}

// Sets the defaults in the caller's struct of struct_size bytes, which may be fewer or more than the
// library's struct has.
template <typename Struct>
void set_defaults(const Struct& defaults, Struct* out, size_t struct_size) {
  if (out == nullptr || struct_size < sizeof struct_size) return;
  std::memset(static_cast<void*>(out), 0, struct_size);
  std::memcpy(static_cast<void*>(out), &defaults, std::min(struct_size, sizeof defaults));
  out->struct_size = struct_size;
}

}  // namespace moehill
