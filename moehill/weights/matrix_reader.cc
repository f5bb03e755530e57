// Implements matrix_reader.h. The encoding of a tensor follows from its type, its name and the scales beside
// it; everything is checked, because a wrong guess would give plausible but wrong weights.
#include "moehill/weights/matrix_reader.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "moehill/base/error.h"
#include "moehill/base/parse.h"
#include "moehill/base/table.h"

namespace moehill {
namespace {

constexpr int64_t kGroup = 32;    // values of a row that share a scale in mxfp4 and int4
constexpr int64_t kBlock = 128;   // rows and columns that share a scale in fp8
constexpr size_t kMaxName = 120;  // characters of a tensor's name that messages show

bool is_four_bit(Encoding encoding) { return encoding == Encoding::mxfp4 || encoding == Encoding::int4; }

// Returns the encoding of a type whose values need no packing; nothing for other types.
std::optional<Encoding> encoding_of(const std::string& dtype) {
  if (dtype == "F32") return Encoding::f32;
  if (dtype == "BF16") return Encoding::bf16;
  if (dtype == "F16") return Encoding::f16;
  if (dtype == "F8_E4M3") return Encoding::f8_e4m3;
  return std::nullopt;
}

// Returns the type of the scales, if this encoding may have such scales.
std::optional<Scales::Type> scale_type_of(const std::string& dtype, Encoding encoding) {
  if (dtype == "F8_E8M0" && encoding != Encoding::int4) return Scales::Type::e8m0;
  if (dtype == "U8" && encoding == Encoding::mxfp4) return Scales::Type::e8m0;
  if (dtype == "F32" && encoding != Encoding::mxfp4) return Scales::Type::f32;
  if (dtype == "BF16" && encoding != Encoding::mxfp4) return Scales::Type::bf16;
  return std::nullopt;
}

// BlockForm is the rows and columns of a block of values that share a scale.
struct BlockForm {
  int64_t rows, columns;
};
// Returns the blocks of values that may share a scale in this encoding. If two of them give scales of the
// same shape, they are the same blocks.
std::vector<BlockForm> block_forms(Encoding encoding, int64_t rows, int64_t columns) {
  if (is_four_bit(encoding)) return {{1, kGroup}};
  return {{kBlock, kBlock}, {1, kGroup}, {1, kBlock}, {1, columns}, {rows, columns}};
}

int64_t blocks(int64_t size, int64_t block) { return (size + block - 1) / block; }

// Returns the shape of scales as a matrix. One scale for the whole matrix may be stored without a dimension
// or with one, a scale for each row with one.
std::vector<int64_t> scale_shape(const StoredTensor& scales, size_t rank) {
  std::vector<int64_t> shape = scales.shape;
  if (rank == 2 && shape.empty()) shape = {1};
  if (rank == 2 && shape.size() == 1) shape.push_back(1);
  return shape;
}

// Returns the option with its value as a user writes it: "--hidden 64", "--expert-form latent:32".
std::string chosen(Dimension dimension, int64_t size) {
  const std::string option = dimension.option;
  return fmt::format("{}{}{}", option, option.find(' ') == option.npos ? ' ' : ':', size);
}

std::string options_of(Dimension a, Dimension b) { return fmt::format("{} and {}", a.option, b.option); }

// Splits a gate-up matrix into gate and up. in_turn: their rows alternate; otherwise the gate's rows come
// first.
MlpSource expert_of(const SourceMatrix& gate_up, const SourceMatrix& down, int64_t width, bool in_turn) {
  MlpSource mlp{gate_up, gate_up, down};
  const Slice gate{0, in_turn ? 2 : 1, width}, up{in_turn ? 1 : width, in_turn ? 2 : 1, width};
  (gate_up.inputs_first ? mlp.gate.columns : mlp.gate.rows) = gate;
  (gate_up.inputs_first ? mlp.up.columns : mlp.up.rows) = up;
  return mlp;
}

// Returns expert e of a stack of num_experts experts.
SourceMatrix matrix_of(SourceMatrix stack, int64_t e, int64_t num_experts) {
  const auto part = [&](std::span<const std::byte> bytes) {
    const size_t size = bytes.size() / static_cast<size_t>(num_experts);
    return bytes.subspan(static_cast<size_t>(e) * size, size);
  };
  stack.bytes = part(stack.bytes);
  stack.scales.bytes = part(stack.scales.bytes);
  return stack;
}

}  // namespace

void MatrixReader::refuse(const std::string& name, const std::string& got, const std::string& allowed,
                          const std::string& remedy) const {
  throw input_error(fmt::format("--weights {}: {}", checkpoint_.path(), quoted(name, kMaxName)), got, allowed,
                    remedy);
}

const StoredTensor& MatrixReader::take(const std::string& name) {
  const StoredTensor& tensor = checkpoint_.tensor(name);
  // An empty tensor has no bytes that would bound its other dimensions, so they could be anything.
  if (tensor.bytes.empty()) refuse(name, "an empty tensor, of shape " + shape_text(tensor.shape), "values");
  used_.insert(name);
  return tensor;
}

bool MatrixReader::has(const std::string& base) const {
  const std::array names = {base + ".weight", base + ".weight_packed", base + "_blocks", base};
  return std::any_of(names.begin(), names.end(),
                     [&](const std::string& name) { return checkpoint_.has(name); });
}

// Reads a tensor under any of its possible names. The name tells how it is packed.
MatrixReader::Stored MatrixReader::stored(const std::string& base) {
  if (checkpoint_.has(base + ".weight_packed")) return packed(base);
  if (checkpoint_.has(base + "_blocks")) return gpt_oss_blocks(base);
  if (checkpoint_.has(base)) return plain(base, {base + "_scale_inv", base + "_scale"});
  return plain(base + ".weight", {base + ".weight_scale_inv", base + ".weight_scale", base + ".scale"});
}

// Reads a tensor whose values are not packed by name. Bytes with scales beside them are pairs of four-bit
// values.
MatrixReader::Stored MatrixReader::plain(const std::string& name,
                                         const std::vector<std::string>& scale_names) {
  const StoredTensor& tensor = take(name);
  const auto scale = std::find_if(scale_names.begin(), scale_names.end(),
                                  [&](const std::string& scale_name) { return checkpoint_.has(scale_name); });
  std::optional<Encoding> encoding = encoding_of(tensor.dtype);
  const bool bytes = tensor.dtype == "I8" || tensor.dtype == "U8";
  if (bytes && scale != scale_names.end()) encoding = Encoding::mxfp4;
  if (!encoding)
    refuse(name, "type " + tensor.dtype,
           "F32, BF16, F16, F8_E4M3 with scales, and four bits in U8, I8 or I32 with scales",
           "convert it to one of these");
  Stored stored{{.name = name, .encoding = *encoding, .bytes = tensor.bytes}, tensor.shape};
  if (encoding == Encoding::mxfp4 && !stored.shape.empty()) stored.shape.back() *= 2;
  if (is_four_bit(*encoding) || encoding == Encoding::f8_e4m3) {
    if (scale == scale_names.end())
      refuse(name, tensor.dtype + " without scales",
             fmt::format("{} beside it", fmt::join(scale_names, " or ")));
    add_scales(stored, *scale);
  }
  return stored;
}

// Reads four-bit values as compressed-tensors stores them: eight in an I32, or two in a U8.
MatrixReader::Stored MatrixReader::packed(const std::string& base) {
  const std::string name = base + ".weight_packed";
  const StoredTensor& tensor = take(name);
  // Values with a zero point, or in another order of columns, would be read wrongly.
  for (const std::string form : {".weight_zero_point", ".weight_g_idx"}) {
    if (checkpoint_.has(base + form))
      refuse(base + form, "weights with it", "symmetric ones, in the order of their columns",
             "convert them to BF16");
  }
  if (tensor.dtype != "I32" && tensor.dtype != "U8")
    refuse(name, "type " + tensor.dtype, "I32, eight values each, or U8, two values each",
           "convert it to BF16");
  const bool int4 = tensor.dtype == "I32";
  Stored stored{{.name = name, .encoding = int4 ? Encoding::int4 : Encoding::mxfp4, .bytes = tensor.bytes},
                tensor.shape};
  if (!stored.shape.empty()) stored.shape.back() *= int4 ? 8 : 2;
  add_scales(stored, base + ".weight_scale");
  if (checkpoint_.has(base + ".weight_shape")) require_shape(stored, base + ".weight_shape");
  return stored;
}

// Checks a tensor that states the shape in values. A different shape would mean padding, which whole groups
// do not have.
void MatrixReader::require_shape(const Stored& stored, const std::string& name) {
  const StoredTensor& tensor = take(name);
  std::vector<int64_t> shape(2);
  const bool longs = tensor.dtype == "I64" && tensor.bytes.size() == 16;
  if (!longs && !(tensor.dtype == "I32" && tensor.bytes.size() == 8))
    refuse(name, tensor.dtype + " " + shape_text(tensor.shape), "I64 [2] or I32 [2]");
  for (size_t i = 0; i < 2; ++i) {
    int32_t number = 0;
    std::memcpy(longs ? static_cast<void*>(&shape[i]) : &number, tensor.bytes.data() + i * (longs ? 8 : 4),
                longs ? 8 : 4);
    if (!longs) shape[i] = number;
  }
  if (shape != stored.shape)
    refuse(name, "shape " + shape_text(shape), shape_text(stored.shape) + ", that of the packed values");
}

// Reads the form of gpt-oss: blocks [E, rows, columns / 32, 16] and scales [E, rows, columns / 32].
MatrixReader::Stored MatrixReader::gpt_oss_blocks(const std::string& base) {
  const std::string name = base + "_blocks";
  const StoredTensor& tensor = take(name);
  if (tensor.dtype != "U8" || tensor.shape.size() != 4 || tensor.shape[3] != kGroup / 2)
    refuse(name, tensor.dtype + " " + shape_text(tensor.shape), "U8 [E, rows, columns / 32, 16]");
  Stored stored{{.name = name, .encoding = Encoding::mxfp4, .bytes = tensor.bytes},
                {tensor.shape[0], tensor.shape[1], kGroup * tensor.shape[2]}};
  add_scales(stored, base + "_scales");
  return stored;
}

// Finds out which values share a scale, from the shape of the scales.
void MatrixReader::add_scales(Stored& stored, const std::string& name) {
  const StoredTensor& tensor = take(name);
  SourceMatrix& matrix = stored.matrix;
  const std::optional<Scales::Type> type = scale_type_of(tensor.dtype, matrix.encoding);
  if (!type)
    refuse(
        name, fmt::format("scales of type {} for {}", tensor.dtype, name_of(matrix.encoding)),
        matrix.encoding == Encoding::mxfp4 ? "U8 or F8_E8M0" : "F32, BF16 or F8_E8M0, the last not for int4",
        "convert the weights to BF16");
  const size_t rank = stored.shape.size();
  if (rank < 2) refuse(matrix.name, "shape " + shape_text(stored.shape), "a matrix");
  const int64_t rows = stored.shape[rank - 2], columns = stored.shape[rank - 1];
  // The first form whose scales have the shape of those in the file is the right one.
  for (const BlockForm form : block_forms(matrix.encoding, rows, columns)) {
    if (form.rows == 0 || form.columns == 0) continue;
    std::vector<int64_t> shape = stored.shape;
    shape[rank - 2] = blocks(rows, form.rows);
    shape[rank - 1] = blocks(columns, form.columns);
    if (shape != scale_shape(tensor, rank)) continue;
    matrix.scales = {*type, tensor.bytes, shape[rank - 1], form.rows, form.columns};
    return;
  }
  refuse(name, "shape " + shape_text(tensor.shape),
         fmt::format("a scale for each {} of {}",
                     is_four_bit(matrix.encoding) ? "32 values of a row"
                                                  : "128x128 block, group of 32 or 128, or row",
                     shape_text(stored.shape)));
}

SourceMatrix MatrixReader::matrix(const std::string& base, Dimension outputs, Dimension inputs) {
  Stored found = stored(base);
  const std::vector<int64_t> wanted = {outputs.stored(), inputs.stored()};
  if (found.shape != wanted) {
    // If the file has a matrix of another size, the message says which options would fit it.
    const bool matrix = found.shape.size() == 2 && found.shape[0] % outputs.times == 0 && found.shape[0] > 0;
    refuse(found.matrix.name, "shape " + shape_text(found.shape),
           fmt::format("{}, by {}", shape_text(wanted), options_of(outputs, inputs)),
           matrix ? fmt::format("use {} {}", chosen(outputs, found.shape[0] / outputs.times),
                                chosen(inputs, found.shape[1]))
                  : "download or write the file anew");
  }
  if (is_four_bit(found.matrix.encoding) && inputs.stored() % kGroup != 0)
    refuse(found.matrix.name,
           fmt::format("{} in groups of {}", count_text(inputs.stored(), "column"), kGroup), "whole groups");
  found.matrix.stored_columns = inputs.stored();
  found.matrix.rows.count = outputs.stored();
  found.matrix.columns.count = inputs.stored();
  return found.matrix;
}

SourceMatrix MatrixReader::vector(const std::string& name, Dimension n) {
  const StoredTensor& tensor = take(name);
  const std::optional<Encoding> encoding = encoding_of(tensor.dtype);
  if (!encoding || *encoding == Encoding::f8_e4m3)
    refuse(name, "type " + tensor.dtype, "F32, BF16 or F16", "convert it to one of these");
  using Shape = std::vector<int64_t>;
  if (tensor.shape != Shape{n.stored()} && tensor.shape != Shape{1, n.stored()})
    refuse(name, "shape " + shape_text(tensor.shape),
           fmt::format("{}, by {}", shape_text({n.stored()}), n.option));
  return {.name = name,
          .encoding = *encoding,
          .bytes = tensor.bytes,
          .stored_columns = n.stored(),
          .rows = {0, 1, 1},
          .columns = {0, 1, n.stored()}};
}

std::optional<MlpSource> MatrixReader::mlp(const std::string& base, Dimension hidden, Dimension width,
                                           MlpForm form) {
  // Experts that are not gated have up_proj only, which takes the place of W1.
  if (!form.gated) {
    if (!has(base + "up_proj")) return std::nullopt;
    if (has(base + "gate_proj"))
      refuse(base + "gate_proj", "a gate", "none, since --expert-form has ungated",
             "leave ungated out of --expert-form");
    MlpSource mlp;
    mlp.gate = matrix(base + "up_proj", width, hidden);
    mlp.down = matrix(base + "down_proj", hidden, width);
    if (!form.biases) return mlp;
    mlp.gate_bias = vector(base + "up_proj.bias", width);
    mlp.down_bias = vector(base + "down_proj.bias", hidden);
    return mlp;
  }
  // Granite has gate and up in one matrix, the gate first.
  if (!form.biases && has(base + "input_linear")) {
    const Dimension both{width.size, width.option, 2};
    return expert_of(matrix(base + "input_linear", both, hidden),
                     matrix(base + "output_linear", hidden, width), width.size, false);
  }
  // The other families have three matrices, under one of two sets of names.
  for (const auto& [gate, up, down] :
       {std::array{"gate_proj", "up_proj", "down_proj"}, std::array{"w1", "w3", "w2"}}) {
    if (!has(base + gate) && !has(base + up) && !has(base + down)) continue;
    MlpSource mlp{matrix(base + gate, width, hidden), matrix(base + up, width, hidden),
                  matrix(base + down, hidden, width)};
    if (!form.biases) return mlp;
    mlp.gate_bias = vector(base + gate + ".bias", width);
    mlp.up_bias = vector(base + up + ".bias", width);
    mlp.down_bias = vector(base + down + ".bias", hidden);
    return mlp;
  }
  return std::nullopt;
}

// Refuses stacks of another shape; if they fit each other, it says for which sizes they would be right.
void MatrixReader::refuse_form(const StackNames& names, const Stored& gate_up, const Stored& down,
                               Dimension experts) {
  const std::vector<int64_t>&a = gate_up.shape, &b = down.shape;
  std::string remedy = "download or write the file anew";
  if (a.size() == 3 && b.size() == 3 && a[0] == b[0]) {
    if (a[1] == 2 * b[2] && a[2] == b[1])
      remedy = fmt::format("use {} {} --hidden {} --mlp-dim {}", experts.option, a[0], b[1], b[2]);
    else if (a[2] == 2 * b[1] && a[1] == b[2])
      remedy = fmt::format("use {} {} --hidden {} --mlp-dim {}", experts.option, a[0], b[2], b[1]);
  }
  refuse(names.gate_up,
         fmt::format("shape {}, and {} of {}", shape_text(a), shape_text(b), quoted(names.down, kMaxName)),
         "[E, 2M, H] and [E, H, M], or [E, H, 2M] and [E, M, H], by --experts, --hidden and --mlp-dim",
         remedy);
}

std::vector<MlpSource> MatrixReader::stacks(const StackNames& names, Dimension experts, Dimension hidden,
                                            Dimension width, MlpForm form) {
  if (!form.gated)
    refuse(names.gate_up, "gates and ups in one", "experts without a gate, by ungated",
           "leave ungated out of --expert-form");
  Stored gate_up = stored(names.gate_up), down = stored(names.down);
  const int64_t num = experts.size, h = hidden.size, m = width.size;
  using Shape = std::vector<int64_t>;
  // The shape tells the order: [outputs, inputs] as torch.nn.Linear has it, or the transposed one.
  const bool outputs_first = gate_up.shape == Shape{num, 2 * m, h} && down.shape == Shape{num, h, m};
  const bool inputs_first = gate_up.shape == Shape{num, h, 2 * m} && down.shape == Shape{num, m, h};
  if (!outputs_first && !inputs_first) refuse_form(names, gate_up, down, experts);
  for (Stored* stack : {&gate_up, &down}) {
    SourceMatrix& matrix = stack->matrix;
    matrix.inputs_first = inputs_first;
    matrix.stored_columns = stack->shape[2];
    matrix.rows.count = stack->shape[1];
    matrix.columns.count = stack->shape[2];
    // Four-bit values share a byte and a scale along a row, so a row must belong to one output and have whole
    // groups.
    if (is_four_bit(matrix.encoding) && (inputs_first || matrix.stored_columns % kGroup != 0))
      refuse(matrix.name, "four bits in " + shape_text(stack->shape),
             "rows of outputs, in whole groups of 32");
  }
  // Only gpt-oss has stacked biases or blocks, and its rows of gate and up alternate.
  const bool in_turn = checkpoint_.has(names.gate_up + "_bias") || checkpoint_.has(names.gate_up + "_blocks");
  std::vector<MlpSource> all;
  for (int64_t e = 0; e < num; ++e)
    all.push_back(expert_of(matrix_of(gate_up.matrix, e, num), matrix_of(down.matrix, e, num), m, in_turn));
  if (form.biases) add_stacked_biases(names, m, in_turn, all);
  return all;
}

// Reads the biases of stacked experts: [E, 2M] for gates and ups, [E, H] for the down products.
void MatrixReader::add_stacked_biases(const StackNames& names, int64_t width, bool in_turn,
                                      std::vector<MlpSource>& all) {
  const int64_t num = std::ssize(all), hidden = all.front().down.rows.count;
  const auto stack = [&](const std::string& name, int64_t columns) {
    const StoredTensor& tensor = take(name);
    const std::optional<Encoding> encoding = encoding_of(tensor.dtype);
    if (!encoding || *encoding == Encoding::f8_e4m3)
      refuse(name, "type " + tensor.dtype, "F32, BF16 or F16", "convert it to one of these");
    const std::vector<int64_t> wanted = {num, columns};
    if (tensor.shape != wanted)
      refuse(name, "shape " + shape_text(tensor.shape), shape_text(wanted) + ", by --experts and the widths");
    return SourceMatrix{.name = name,
                        .encoding = *encoding,
                        .bytes = tensor.bytes,
                        .stored_columns = columns,
                        .rows = {0, 1, 1},
                        .columns = {0, 1, columns}};
  };
  const SourceMatrix gates_ups = stack(names.gate_up + "_bias", 2 * width),
                     downs = stack(names.down + "_bias",
                                   all.front().down.inputs_first ? all.front().down.columns.count : hidden);
  for (int64_t e = 0; e < num; ++e) {
    MlpSource& mlp = all[static_cast<size_t>(e)];
    mlp.gate_bias = mlp.up_bias = matrix_of(gates_ups, e, num);
    mlp.gate_bias.columns = {0, in_turn ? 2 : 1, width};
    mlp.up_bias.columns = {in_turn ? 1 : width, in_turn ? 2 : 1, width};
    mlp.down_bias = matrix_of(downs, e, num);
  }
}

}  // namespace moehill
