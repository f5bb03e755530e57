// A worker of ./compare: products of oneDNN in the three directions of the grouped GEMM, y = x W, dx = dy W^T
// and dW = x^T dy, with one product for each group and a matrix of its own. One group is the dense product.
// WHAT is forward, input_grad or weight_grad.
//
// The worker packs the weights as oneDNN wants them before the clock starts: one copy for y, another for dx.
// x, dy and all results are plain row-major matrices of the type.
#include <dnnl.hpp>
#include <random>

#include "worker.h"

namespace {

using dnnl::memory;
using Type = memory::data_type;

float rounded(float value, Type type) {
  if (type == Type::f32) return value;
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;  // to nearest even; no NaN here
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}

// Matrix is a row-major matrix of bf16 or f32.
class Matrix {
 public:
  Matrix(int64_t rows, int64_t columns, Type type)
      : columns_(columns), type_(type), bytes_(static_cast<size_t>(rows * columns) * size()) {}

  void fill(std::mt19937& random) {
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (size_t i = 0; i < bytes_.size(); i += size()) {
      const float value = rounded(uniform(random), type_);
      std::memcpy(&bytes_[i], reinterpret_cast<const char*>(&value) + sizeof value - size(), size());
    }
  }

  double at(int64_t row, int64_t column) const {
    float value = 0;
    std::memcpy(reinterpret_cast<char*>(&value) + sizeof value - size(),
                &bytes_[static_cast<size_t>(row * columns_ + column) * size()], size());
    return value;
  }

  // Returns a view of `rows` rows from `first` on, as a matrix or as its transpose.
  memory view(const dnnl::engine& engine, int64_t first, int64_t rows, bool transposed = false) {
    const memory::dims dims = transposed ? memory::dims{columns_, rows} : memory::dims{rows, columns_};
    const memory::dims strides = transposed ? memory::dims{1, columns_} : memory::dims{columns_, 1};
    return {{dims, type_, strides}, engine, &bytes_[static_cast<size_t>(first * columns_) * size()]};
  }

  int64_t columns() const { return columns_; }

 private:
  size_t size() const { return type_ == Type::bf16 ? 2 : 4; }

  int64_t columns_;
  Type type_;
  std::vector<char> bytes_;
};

dnnl::matmul::primitive_desc matmul_of(const dnnl::engine& engine, const memory::desc& a,
                                       const memory::desc& b, const memory::desc& c) {
#if DNNL_VERSION_MAJOR >= 3
  return {engine, a, b, c};
#else
  return {dnnl::matmul::desc(a, b, c), engine};
#endif
}

struct Shape {
  int64_t groups, rows, depth, columns;  // `rows` of all groups
  Type type;
};

class Products {
 public:
  explicit Products(const Shape& shape)
      : shape_(shape),
        x_(shape.rows, shape.depth, shape.type),
        w_(shape.depth, shape.columns, shape.type),
        dy_(shape.rows, shape.columns, shape.type),
        y_(shape.rows, shape.columns, shape.type),
        dx_(shape.rows, shape.depth, shape.type),
        dw_(shape.groups * shape.depth, shape.columns, shape.type) {
    std::mt19937 random(0);
    for (Matrix* m : {&x_, &w_, &dy_}) m->fill(random);
    for (const char* direction : {"forward", "input_grad", "weight_grad"}) add(direction);
  }

  std::string instructions() const { return products_.at("forward").kernel; }

  void step(const std::string& direction) {
    Product& product = products_.at(direction);
    for (const auto& arguments : product.arguments) product.matmul.execute(stream_, arguments);
    stream_.wait();
  }

  // Compares some rows of the result, the last one among them, with sums in double.
  double check(const std::string& direction) {
    step(direction);
    const Matrix& result = direction == "forward" ? y_ : direction == "input_grad" ? dx_ : dw_;
    const int64_t rows = direction == "weight_grad" ? shape_.groups * shape_.depth : shape_.rows;
    std::vector<float> got, reference;
    for (int i = 1; i <= 8; ++i) {
      const int64_t row = rows * i / 8 - 1;
      for (int64_t column = 0; column < result.columns(); ++column) {
        got.push_back(static_cast<float>(result.at(row, column)));
        reference.push_back(static_cast<float>(exact(direction, row, column)));
      }
    }
    return peers::row_error({got.data(), 8, result.columns()}, {reference.data(), 8, result.columns()});
  }

 private:
  struct Product {
    dnnl::matmul matmul;
    std::string kernel;
    std::vector<std::unordered_map<int, memory>> arguments;  // a group each
  };

  void add(const std::string& direction) {
    Product& product = products_[direction];
    const int64_t rows = shape_.rows / shape_.groups;
    const bool forward = direction == "forward", weight_grad = direction == "weight_grad";
    for (int64_t g = 0; g < shape_.groups; ++g) {
      const memory a = (forward || weight_grad ? x_ : dy_).view(engine_, g * rows, rows, weight_grad);
      memory b =
          weight_grad ? dy_.view(engine_, g * rows, rows) : w_.view(engine_, 0, shape_.depth, !forward);
      const memory c = forward       ? y_.view(engine_, g * rows, rows)
                       : weight_grad ? dw_.view(engine_, g * shape_.depth, shape_.depth)
                                     : dx_.view(engine_, g * rows, rows);
      const memory::desc any(b.get_desc().dims(), shape_.type, memory::format_tag::any);
      const auto matmul = matmul_of(engine_, a.get_desc(), weight_grad ? b.get_desc() : any, c.get_desc());
      if (!weight_grad) {
        memory packed(matmul.weights_desc(), engine_);
        dnnl::reorder(b, packed).execute(stream_, b, packed);
        b = packed;
      }
      product.matmul = dnnl::matmul(matmul);
      product.kernel = matmul.impl_info_str();
      product.arguments.push_back({{DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, b}, {DNNL_ARG_DST, c}});
    }
    stream_.wait();
  }

  double exact(const std::string& direction, int64_t row, int64_t column) const {
    double sum = 0;
    if (direction == "forward") {
      for (int64_t k = 0; k < shape_.depth; ++k) sum += x_.at(row, k) * w_.at(k, column);
    } else if (direction == "input_grad") {
      for (int64_t k = 0; k < shape_.columns; ++k) sum += dy_.at(row, k) * w_.at(column, k);
    } else {
      const int64_t rows = shape_.rows / shape_.groups, first = row / shape_.depth * rows;
      for (int64_t k = first; k < first + rows; ++k) sum += x_.at(k, row % shape_.depth) * dy_.at(k, column);
    }
    return sum;
  }

  Shape shape_;
  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  Matrix x_, w_, dy_, y_, dx_, dw_;
  std::map<std::string, Product> products_;
};

}  // namespace

int main(int argc, char** argv) {
  const std::string type = argc == 6 ? argv[1] : "";
  if (type != "bf16" && type != "f32") {
    std::cerr << "usage: onednn_products bf16|f32 GROUPS ROWS DEPTH COLUMNS; ROWS of all groups\n";
    return 2;
  }
  int64_t size[4];
  for (int i = 0; i < 4; ++i) size[i] = std::atoll(argv[2 + i]);
  if (std::min({size[0], size[1], size[2], size[3]}) < 1 || size[1] % size[0] != 0) {
    std::cerr << "onednn_products: sizes are whole numbers from 1, ROWS a multiple of GROUPS\n";
    return 2;
  }
  try {
    Products products({size[0], size[1], size[2], size[3], type == "bf16" ? Type::bf16 : Type::f32});
    const dnnl_version_t* v = dnnl_version();
    peers::serve({"oneDNN " + std::to_string(v->major) + "." + std::to_string(v->minor) + "." +
                      std::to_string(v->patch),
                  products.instructions(), [&](const std::string& what) { return products.check(what); },
                  "product", [&](const std::string& what) { products.step(what); }});
  } catch (const dnnl::error& error) {
    std::cerr << "onednn_products: " << error.message << "\n";
    return 5;
  }
}
