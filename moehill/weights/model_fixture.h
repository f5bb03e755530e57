// This header makes tiny models as .safetensors, for tests, in every encoding and with the names of every
// family. It computes in double the values that they stand for, by other means than the reader.
//
//   const Model model = make_model(Family::gpt_oss, {.hidden = 64, .mlp_dim = 32}, Encoding::mxfp4);
//   write_shards(folder, model.tensors, 2);   // model.values has the expected values
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "moehill/weights/source_matrix.h"

namespace moehill::testing_models {

// TensorBytes is a tensor as a .safetensors file has it.
struct TensorBytes {
  std::string dtype;
  std::vector<int64_t> shape;
  std::string bytes;
};
using Tensors = std::map<std::string, TensorBytes>;

inline std::string with_length(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  std::string file(sizeof(length), '\0');
  std::memcpy(file.data(), &length, sizeof(length));
  return file + header + data;
}

inline nlohmann::json header_of(const Tensors& tensors, std::string* data) {
  nlohmann::json header = nlohmann::json::object();
  for (const auto& [name, tensor] : tensors) {
    header[name] = {{"dtype", tensor.dtype},
                    {"shape", tensor.shape},
                    {"data_offsets", {data->size(), data->size() + tensor.bytes.size()}}};
    *data += tensor.bytes;
  }
  return header;
}

inline std::string safetensors(const Tensors& tensors) {
  std::string data;
  nlohmann::json header = header_of(tensors, &data);
  header["__metadata__"] = {{"format", "pt"}};
  return with_length(header.dump(), data);
}

inline void write_file(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

// Writes the tensors into `num_shards` files with an index.
inline void write_shards(const std::filesystem::path& folder, const Tensors& tensors, size_t num_shards) {
  std::vector<Tensors> shards(num_shards);
  nlohmann::json map;
  size_t i = 0;
  for (const auto& [name, tensor] : tensors) {
    const size_t shard = i++ % num_shards;
    shards[shard].emplace(name, tensor);
    map[name] = "model-" + std::to_string(shard) + ".safetensors";
  }
  for (size_t s = 0; s < num_shards; ++s)
    write_file(folder / ("model-" + std::to_string(s) + ".safetensors"), safetensors(shards[s]));
  const nlohmann::json index = {{"metadata", {{"total_size", 1}}}, {"weight_map", map}};
  write_file(folder / "model.safetensors.index.json", index.dump());
}

// EncodedMatrix is a matrix [rows, columns] of random codes, with the values that they stand for.
struct EncodedMatrix {
  TensorBytes codes, scales;
  std::vector<double> values;
};

template <typename T>
void append(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

inline double value_of_f8(int code) {
  const int exponent = code >> 3 & 15, mantissa = code & 7;
  const double value =
      exponent == 0 ? mantissa * std::ldexp(1.0, -9) : (8 + mantissa) * std::ldexp(1.0, exponent - 10);
  return code & 128 ? -value : value;
}
inline double value_of_e2m1(int code) {
  const int exponent = code >> 1 & 3, mantissa = code & 1;
  const double value = exponent == 0 ? 0.5 * mantissa : (2 + mantissa) * std::ldexp(1.0, exponent - 2);
  return code & 8 ? -value : value;
}
inline double value_of_f16(int code) {
  const int exponent = code >> 10 & 31, mantissa = code & 1023;
  const double value =
      exponent == 0 ? mantissa * std::ldexp(1.0, -24) : (1024 + mantissa) * std::ldexp(1.0, exponent - 25);
  return code & 32768 ? -value : value;
}
inline double value_of_bf16(int code) {
  const int exponent = code >> 7 & 255, mantissa = code & 127;
  const double value =
      exponent == 0 ? mantissa * std::ldexp(1.0, -133) : (128 + mantissa) * std::ldexp(1.0, exponent - 134);
  return code & 32768 ? -value : value;
}

// Encoder draws a matrix in an encoding, and says which values its codes stand for.
class Encoder {
 public:
  explicit Encoder(uint32_t seed) : random_(seed) {}

  EncodedMatrix matrix(Encoding encoding, int64_t rows, int64_t columns) {
    EncodedMatrix m;
    m.codes.shape = {rows, columns};
    m.values.resize(static_cast<size_t>(rows * columns));
    switch (encoding) {
      case Encoding::f32:
        m.codes.dtype = "F32";
        for (double& value : m.values) {
          // Values are multiples of 2^-20 with at most 17 bits, so f32 holds them exactly.
          const float f = static_cast<float>(draw(-100000, 100000)) * 0x1p-20f;
          append(m.codes.bytes, f);
          value = f;
        }
        break;
      case Encoding::bf16:
        m.codes.dtype = "BF16";
        // The exponents give values below 1, as weights have.
        for (double& value : m.values)
          value = value_of_bf16(plain(m, draw(0, 1) << 15 | draw(118, 126) << 7 | draw(0, 127)));
        break;
      case Encoding::f16:
        m.codes.dtype = "F16";
        for (double& value : m.values)
          value = value_of_f16(plain(m, draw(0, 1) << 15 | draw(0, 14) << 10 | draw(0, 1023)));
        break;
      case Encoding::f8_e4m3:
        fp8(m, rows, columns);
        break;
      case Encoding::mxfp4:
      case Encoding::int4:
        four_bits(m, encoding, rows, columns);
        break;
    }
    return m;
  }

 private:
  int draw(int lo, int hi) { return std::uniform_int_distribution<int>(lo, hi)(random_); }
  int plain(EncodedMatrix& m, int code) {
    append(m.codes.bytes, static_cast<uint16_t>(code));
    return code;
  }

  void fp8(EncodedMatrix& m, int64_t rows, int64_t columns) {
    m.codes.dtype = "F8_E4M3";
    const int64_t down = (rows + 127) / 128, across = (columns + 127) / 128;
    std::vector<float> scales;
    m.scales = {"F32", {down, across}, ""};
    for (int64_t i = 0; i < down * across; ++i) {
      scales.push_back(static_cast<float>(draw(1, 999)) * 1e-5f);
      append(m.scales.bytes, scales.back());
    }
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c) {
        const int code = draw(0, 1) << 7 | draw(0, 126);
        m.codes.bytes += static_cast<char>(code);
        m.values[static_cast<size_t>(r * columns + c)] =
            value_of_f8(code) * scales[static_cast<size_t>(r / 128 * across + c / 128)];
      }
    }
  }

  // Codes are bytes with two values each, as compressed-tensors and gpt-oss store them.
  void four_bits(EncodedMatrix& m, Encoding encoding, int64_t rows, int64_t columns) {
    m.codes.dtype = "U8";
    m.codes.shape = {rows, columns / 2};
    const int64_t across = columns / 32;
    m.scales = {encoding == Encoding::mxfp4 ? "U8" : "BF16", {rows, across}, ""};
    std::vector<double> scales;
    for (int64_t i = 0; i < rows * across; ++i) {
      const int code = encoding == Encoding::mxfp4 ? draw(115, 127) : draw(110, 122) << 7 | draw(0, 127);
      if (encoding == Encoding::mxfp4) append(m.scales.bytes, static_cast<uint8_t>(code));
      if (encoding == Encoding::int4) append(m.scales.bytes, static_cast<uint16_t>(code));
      scales.push_back(encoding == Encoding::mxfp4 ? std::ldexp(1.0, code - 127) : value_of_bf16(code));
    }
    for (int64_t i = 0; i < rows * columns; i += 2) {
      const int low = draw(0, 15), high = draw(0, 15);
      m.codes.bytes += static_cast<char>(low | high << 4);
      const double scale = scales[static_cast<size_t>(i / columns * across + i % columns / 32)];
      const auto value = [&](int code) {
        return encoding == Encoding::mxfp4 ? value_of_e2m1(code) : code - 8.0;
      };
      m.values[static_cast<size_t>(i)] = value(low) * scale;
      m.values[static_cast<size_t>(i) + 1] = value(high) * scale;
    }
  }

  std::mt19937 random_;
};

// Family lists the ways in which model families name and lay out their tensors.
enum class Family {
  qwen,         // mlp.experts.E.gate_proj.weight, a shared expert with a gate
  mixtral,      // block_sparse_moe.experts.E.w1.weight
  deepseek,     // as qwen, fp8 with weight_scale_inv, mlp.shared_experts, first layer dense
  deepseek_v4,  // ffn.experts.E.w1.weight in I8 with scale in F8_E8M0
  gpt_oss,      // mlp.experts.gate_up_proj_blocks, rows of gate and up in turn, biases
  llama4,       // feed_forward.experts.gate_up_proj [E, H, 2M]
  fused,        // mlp.experts.gate_up_proj [E, 2M, H]
  granite,      // block_sparse_moe.input_linear.weight [E, 2M, H], shared_mlp beside it
  kimi_int4,    // weight_packed in I32 with weight_scale
  kimi_mxfp4,   // weight_packed in U8 with weight_scale
};

// ModelShape is the sizes of a model; shared_dim 0 means no shared expert.
struct ModelShape {
  int64_t hidden = 64, mlp_dim = 32;
  int experts = 3;
  int64_t shared_dim = 0;
};

// Model is a model and its values. `values` has each matrix as [outputs][inputs]: gate, up and down of each
// expert, then of the shared expert. Vectors are found by the ends of their names; "_bias" has the biases of
// all experts.
struct Model {
  Tensors tensors;
  int64_t layer = 0;
  std::vector<std::vector<double>> values;
  std::map<std::string, std::vector<double>> vectors;
};

// ModelWriter makes the tensors of one family under its names, and the values beside them.
class ModelWriter {
 public:
  ModelWriter(Family family, const ModelShape& shape, Encoding encoding, uint32_t seed)
      : family_(family), shape_(shape), encoding_(encoding), encoder_(seed) {}

  Model write() {
    model_.layer = family_ == Family::deepseek ? 1 : 0;
    const std::string layer = "layers." + std::to_string(model_.layer) + ".";
    prefix_ = family_ == Family::deepseek_v4 ? layer
              : family_ == Family::llama4    ? "language_model.model." + layer
                                             : "model." + layer;
    if (is_stacked()) {
      write_stacks();
    } else {
      for (int e = 0; e < shape_.experts; ++e)
        write_mlp(block() + "experts." + std::to_string(e) + ".", shape_.mlp_dim, encoding_);
    }
    if (shape_.shared_dim > 0) write_shared();
    write_others();
    return model_;
  }

 private:
  std::string block() const {
    switch (family_) {
      case Family::mixtral:
      case Family::granite:
        return "block_sparse_moe.";
      case Family::llama4:
        return "feed_forward.";
      case Family::deepseek_v4:
        return "ffn.";
      default:
        return "mlp.";
    }
  }
  bool is_stacked() const {
    return family_ == Family::gpt_oss || family_ == Family::llama4 || family_ == Family::fused ||
           family_ == Family::granite;
  }
  bool has_short_names() const { return family_ == Family::mixtral || family_ == Family::deepseek_v4; }

  void put(const std::string& name, TensorBytes tensor) {
    model_.tensors[prefix_ + name] = std::move(tensor);
  }

  // Adds the matrix under the names of the family.
  void put_matrix(const std::string& base, EncodedMatrix m) {
    const bool four_bits = m.codes.dtype == "U8";
    if (family_ == Family::kimi_int4 && four_bits) {
      TensorBytes shape{"I64", {2}, ""};
      append(shape.bytes, m.codes.shape[0]);
      append(shape.bytes, 2 * m.codes.shape[1]);
      put(base + ".weight_shape", shape);
      m.codes = {"I32", {m.codes.shape[0], m.codes.shape[1] / 4}, m.codes.bytes};
    }
    if (family_ == Family::deepseek_v4 && four_bits) m.codes.dtype = "I8", m.scales.dtype = "F8_E8M0";
    const bool packed = four_bits && family_ != Family::deepseek_v4;
    put(base + (packed ? ".weight_packed" : ".weight"), m.codes);
    if (m.scales.bytes.empty()) return;
    put(base + (packed                           ? ".weight_scale"
                : family_ == Family::deepseek_v4 ? ".scale"
                                                 : ".weight_scale_inv"),
        m.scales);
  }

  void write_mlp(const std::string& base, int64_t width, Encoding encoding) {
    const char* const long_names[] = {"gate_proj", "up_proj", "down_proj"};
    const char* const short_names[] = {"w1", "w3", "w2"};
    for (int i = 0; i < 3; ++i) {
      EncodedMatrix m =
          encoder_.matrix(encoding, i == 2 ? shape_.hidden : width, i == 2 ? width : shape_.hidden);
      model_.values.push_back(m.values);
      put_matrix(base + (has_short_names() ? short_names : long_names)[i], std::move(m));
    }
  }

  void write_shared() {
    const int64_t h = shape_.hidden, s = shape_.shared_dim;
    if (family_ == Family::granite) {
      EncodedMatrix up = encoder_.matrix(Encoding::bf16, 2 * s, h),
                    down = encoder_.matrix(Encoding::bf16, h, s);
      const auto half = up.values.begin() + s * h;
      model_.values.emplace_back(up.values.begin(), half);
      model_.values.emplace_back(half, up.values.end());
      model_.values.push_back(down.values);
      put("shared_mlp.input_linear.weight", up.codes);
      put("shared_mlp.output_linear.weight", down.codes);
      return;
    }
    const bool several = family_ == Family::deepseek || family_ == Family::deepseek_v4;
    write_mlp(block() + (several ? "shared_experts." : "shared_expert."), s,
              several ? Encoding::f8_e4m3 : Encoding::bf16);
  }

  // Returns the row of the stacked matrix that is row m of the gate, or of up.
  int64_t row_of(bool up, int64_t m) const {
    return family_ == Family::gpt_oss ? 2 * m + up : up * shape_.mlp_dim + m;
  }

  void write_stacks() {
    const int64_t h = shape_.hidden, m = shape_.mlp_dim, num = shape_.experts;
    TensorBytes gate_up, down, gate_up_scales, down_scales;
    for (int64_t e = 0; e < num; ++e) {
      // Llama 4 stores [inputs, outputs], the others [outputs, inputs].
      const bool inputs_first = family_ == Family::llama4;
      EncodedMatrix a = encoder_.matrix(encoding_, inputs_first ? h : 2 * m, inputs_first ? 2 * m : h);
      EncodedMatrix b = encoder_.matrix(encoding_, inputs_first ? m : h, inputs_first ? h : m);
      // The expected values are taken in the order of gate, up, down, each as [outputs][inputs].
      for (const bool up : {false, true}) {
        std::vector<double> values;
        for (int64_t n = 0; n < m; ++n) {
          for (int64_t k = 0; k < h; ++k)
            values.push_back(a.values[static_cast<size_t>(inputs_first ? k * 2 * m + row_of(up, n)
                                                                       : row_of(up, n) * h + k)]);
        }
        model_.values.push_back(values);
      }
      std::vector<double> values;
      for (int64_t n = 0; n < h; ++n) {
        for (int64_t k = 0; k < m; ++k)
          values.push_back(b.values[static_cast<size_t>(inputs_first ? k * h + n : n * m + k)]);
      }
      model_.values.push_back(values);
      add_to_stack(gate_up, a.codes);
      add_to_stack(down, b.codes);
      add_to_stack(gate_up_scales, a.scales);
      add_to_stack(down_scales, b.scales);
    }
    put_stack(family_ == Family::granite ? "input_linear.weight" : "experts.gate_up_proj", gate_up,
              gate_up_scales);
    put_stack(family_ == Family::granite ? "output_linear.weight" : "experts.down_proj", down, down_scales);
  }

  void add_to_stack(TensorBytes& stack, const TensorBytes& one) const {
    stack.dtype = one.dtype;
    stack.bytes += one.bytes;
    stack.shape = one.shape;
    stack.shape.insert(stack.shape.begin(), shape_.experts);
  }

  void put_stack(const std::string& base, TensorBytes codes, TensorBytes scales) {
    if (family_ != Family::gpt_oss) {
      put(block() + base, codes);
      if (!scales.bytes.empty()) put(block() + base + "_scale_inv", scales);
      return;
    }
    if (encoding_ != Encoding::mxfp4) {
      put(block() + base, codes);
    } else {
      codes.shape = {codes.shape[0], codes.shape[1], codes.shape[2] / 16, 16};
      put(block() + base + "_blocks", codes);
      put(block() + base + "_scales", scales);
    }
    put_vectors(block() + base + "_bias", {codes.shape[0], codes.shape[1]});
  }

  void put_vectors(const std::string& name, const std::vector<int64_t>& shape) {
    EncodedMatrix m = encoder_.matrix(Encoding::bf16, shape[0], shape[1]);
    model_.vectors[name] = m.values;
    put(name, m.codes);
  }

  // Adds the router, and tensors that no product reads.
  void write_others() {
    const char* const router = family_ == Family::gpt_oss || family_ == Family::llama4 ? "router"
                               : family_ == Family::granite                            ? "router.layer"
                                                                                       : "gate";
    put(block() + router + ".weight", encoder_.matrix(Encoding::bf16, shape_.experts, shape_.hidden).codes);
    put("input_layernorm.weight", {"BF16", {3}, std::string(6, '\0')});
    model_.tensors["lm_head.weight"] = {"F32", {1}, std::string(4, '\0')};
    if (family_ == Family::qwen && shape_.shared_dim > 0)
      put_vectors("mlp.shared_expert_gate.weight", {1, shape_.hidden});
    if (family_ == Family::deepseek) {
      put_vectors("mlp.gate.e_score_correction_bias", {1, shape_.experts});
      model_.tensors["model.layers.0.mlp.gate_proj.weight"] = {"BF16", {1}, std::string(2, '\0')};
    }
  }

  Family family_;
  ModelShape shape_;
  Encoding encoding_;
  Encoder encoder_;
  std::string prefix_;
  Model model_;
};

inline Model make_model(Family family, const ModelShape& shape, Encoding encoding, uint32_t seed = 1) {
  return ModelWriter(family, shape, encoding, seed).write();
}

}  // namespace moehill::testing_models
