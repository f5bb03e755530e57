// A worker of ./compare: the forward pass of one MoE block in ggml, as llama.cpp builds it (mul_mat_id for
// the experts, mul_mat for the shared expert). ./compare compiles it against the ggml that the user names.
// Moehill has dumped the operands and the y with which this y is compared; WHAT is forward:FOLDER.
#include <fstream>
#include <memory>
#include <stdexcept>

#include "ggml-cpu.h"
#include "ggml.h"
#include "worker.h"

namespace {

// Reads a C-order .npy file of 4-byte values.
template <class T>
struct Array {
  std::vector<int64_t> shape;
  std::vector<T> values;
};

template <class T>
Array<T> read_npy(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  char magic[10];
  if (!file.read(magic, sizeof magic)) throw std::runtime_error("cannot read " + path);
  const size_t length = static_cast<unsigned char>(magic[8]) + 256u * static_cast<unsigned char>(magic[9]);
  std::string header(length, ' ');
  file.read(header.data(), static_cast<std::streamsize>(length));
  std::istringstream sizes(header.substr(header.find("'shape': (") + 10));
  Array<T> array;
  int64_t size, count = 1;
  for (char comma; sizes >> size; sizes >> comma) {
    array.shape.push_back(size);
    count *= size;
  }
  array.values.resize(static_cast<size_t>(count));
  file.read(reinterpret_cast<char*>(array.values.data()),
            static_cast<std::streamsize>(count * int64_t{sizeof(T)}));
  if (!file) throw std::runtime_error(path + " is shorter than its header says");
  return array;
}

struct ContextFree {
  void operator()(ggml_context* context) const { ggml_free(context); }
};
using Context = std::unique_ptr<ggml_context, ContextFree>;

Context make_context(size_t bytes) { return Context(ggml_init({bytes, nullptr, false})); }

// Reads [experts, in, out] or [in, out] from the file into the form that ggml multiplies: each row is an
// output.
ggml_tensor* weight(ggml_context* context, const std::string& path) {
  const Array<float> file = read_npy<float>(path);
  const int64_t experts = file.shape.size() == 3 ? file.shape[0] : 1;
  const int64_t in = file.shape[file.shape.size() - 2], out = file.shape.back();
  ggml_tensor* tensor = ggml_new_tensor_3d(context, GGML_TYPE_BF16, in, out, experts);
  constexpr int64_t kBlock = 32;  // columns and rows that a cache holds
  auto* to = static_cast<ggml_bf16_t*>(tensor->data);
  for (int64_t e = 0; e < experts; ++e) {
    const float* from = &file.values[static_cast<size_t>(e * in * out)];
    for (int64_t r = 0; r < in; r += kBlock) {
      for (int64_t c = 0; c < out; ++c) {
        for (int64_t i = r; i < std::min(r + kBlock, in); ++i) {
          to[(e * out + c) * in + i] = ggml_fp32_to_bf16(from[i * out + c]);
        }
      }
    }
  }
  return tensor;
}

struct Weights {
  explicit Weights(const std::string& folder) {
    const std::vector<int64_t> w = read_npy<float>(folder + "/w1.npy").shape;
    shared = std::ifstream(folder + "/s1.npy").good();
    int64_t values = 3 * w[0] * w[1] * w[2];
    if (shared) values += 3 * static_cast<int64_t>(read_npy<float>(folder + "/s1.npy").values.size());
    context = make_context(static_cast<size_t>(values) * 2 + (1 << 20));
    for (const char* name : {"w1", "w2", "w3"})
      tensor[name] = weight(context.get(), folder + "/" + name + ".npy");
    if (!shared) return;
    for (const char* name : {"s1", "s2", "s3"})
      tensor[name] = weight(context.get(), folder + "/" + name + ".npy");
  }

  Context context;
  std::map<std::string, ggml_tensor*> tensor;
  bool shared;
};

// Case is the graph of one case with its inputs.
class Case {
 public:
  Case(Weights& weights, const std::string& folder, int threads)
      : reference_(read_npy<float>(folder + "/y.npy")) {
    const auto x = read_npy<float>(folder + "/x.npy");
    const auto index = read_npy<int32_t>(folder + "/topk_idx.npy");
    const auto gate = read_npy<float>(folder + "/topk_weights.npy");
    const int64_t tokens = x.shape[0], hidden = x.shape[1], topk = index.shape[1];
    auto& w = weights.tensor;
    const int64_t width = w["w1"]->ne[1], shared_width = weights.shared ? w["s1"]->ne[1] : 0;
    // Floats of all tensors of the graph, none of which shares its memory.
    const int64_t floats =
        tokens * (topk * (3 * width + 4 * hidden) + 3 * shared_width + 4 * hidden + 2 * topk);
    context_ = make_context(static_cast<size_t>(floats) * 4 + (4 << 20));
    ggml_context* c = context_.get();
    const auto input = [&](ggml_tensor* tensor, const auto& values) {
      std::memcpy(tensor->data, values.data(), ggml_nbytes(tensor));
      return tensor;
    };
    ggml_tensor* rows = input(ggml_new_tensor_3d(c, GGML_TYPE_F32, hidden, 1, tokens), x.values);
    ggml_tensor* chosen = input(ggml_new_tensor_2d(c, GGML_TYPE_I32, topk, tokens), index.values);
    ggml_tensor* gates = input(ggml_new_tensor_3d(c, GGML_TYPE_F32, 1, topk, tokens), gate.values);

    ggml_tensor* up = ggml_mul_mat_id(c, w["w3"], rows, chosen);
    ggml_tensor* gated = ggml_swiglu_split(c, ggml_mul_mat_id(c, w["w1"], rows, chosen), up);
    ggml_tensor* down =
        ggml_mul(c, ggml_mul_mat_id(c, w["w2"], gated, chosen), gates);  // [hidden, topk, tokens]
    const auto choice = [&](int64_t i) {
      return ggml_view_2d(c, down, hidden, tokens, down->nb[2], static_cast<size_t>(i) * down->nb[1]);
    };
    y_ = choice(0);
    for (int64_t i = 1; i < topk; ++i) y_ = ggml_add(c, y_, choice(i));
    if (weights.shared) {
      ggml_tensor* x2 = ggml_reshape_2d(c, rows, hidden, tokens);
      ggml_tensor* h = ggml_swiglu_split(c, ggml_mul_mat(c, w["s1"], x2), ggml_mul_mat(c, w["s3"], x2));
      y_ = ggml_add(c, y_, ggml_mul_mat(c, w["s2"], h));
    }
    y_ = ggml_cont(c, y_);  // top-1 without a shared expert is a view
    graph_ = ggml_new_graph(c);
    ggml_build_forward_expand(graph_, y_);
    plan_ = ggml_graph_plan(graph_, threads, nullptr);
    work_.resize(plan_.work_size);
    plan_.work_data = work_.data();
  }

  void step() {
    if (ggml_graph_compute(graph_, &plan_) != GGML_STATUS_SUCCESS)
      throw std::runtime_error("ggml_graph_compute failed");
  }

  double error() const {
    const int64_t rows = reference_.shape[0], columns = reference_.shape[1];
    return peers::row_error({static_cast<const float*>(y_->data), rows, columns},
                            {reference_.values.data(), rows, columns});
  }

 private:
  Array<float> reference_;
  Context context_;
  ggml_tensor* y_ = nullptr;
  ggml_cgraph* graph_ = nullptr;
  ggml_cplan plan_{};
  std::vector<uint8_t> work_;
};

std::string instructions() {
  return ggml_cpu_has_avx512_bf16() ? "avx512_bf16"
         : ggml_cpu_has_avx512()    ? "avx512"
         : ggml_cpu_has_avx2()      ? "avx2"
         : ggml_cpu_has_neon()      ? "neon"
                                    : "no AVX2, no NEON";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3 || std::atoi(argv[2]) < 1) {
    std::cerr << "usage: ggml_moe WEIGHTS THREADS\n";
    return 2;
  }
  try {
    Weights weights(argv[1]);
    std::map<std::string, Case> cases;
    const auto find = [&](const std::string& what) -> Case& {
      const std::string folder = what.substr(what.find(':') + 1);
      return cases.try_emplace(folder, weights, folder, std::atoi(argv[2])).first->second;
    };
    const auto check = [&](const std::string& what) {
      find(what).step();
      return find(what).error();
    };
    peers::serve({std::string("ggml ") + ggml_version() + " " + ggml_commit(), instructions(), check, "y",
                  [&](const std::string& what) { find(what).step(); }});
  } catch (const std::exception& error) {
    std::cerr << "ggml_moe: " << error.what() << "\n";
    return 5;
  }
}
