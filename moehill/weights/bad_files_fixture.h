// This header has bad files for tests. Each breaks one rule of a header, of shards and their index, or of the
// tensors that a block needs, and says which words its error must contain.
//
//   for (const BadFile& bad : all_bad_files()) expect_refusal(bad.write(folder), bad.said);
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "moehill/weights/model_fixture.h"

namespace moehill::testing_models {

namespace fs = std::filesystem;

// BadFile writes its files into an empty folder and returns the path for --weights.
struct BadFile {
  std::string name;
  std::function<fs::path(const fs::path& folder)> write;
  std::string said;  // a part of the expected error
};

inline const ModelShape kBadShape{32, 32, 2, 0};

inline Model bad_base() { return make_model(Family::qwen, kBadShape, Encoding::bf16); }

inline BadFile bytes_file(const std::string& name, const std::string& bytes, const std::string& said) {
  return {name,
          [=](const fs::path& folder) {
            write_file(folder / "x.safetensors", bytes);
            return folder / "x.safetensors";
          },
          said};
}

inline std::string length_bytes(uint64_t length) {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes;
}

// Makes a file with one tensor x of two bytes, whose header entry is `entry`.
inline std::string entry_file(const std::string& entry, const std::string& data = "ab") {
  return with_length("{\"x\":" + entry + "}", data);
}

inline std::vector<BadFile> bad_headers() {
  const std::string good = safetensors(bad_base().tensors);
  const auto entry = [](const std::string& name, const std::string& text, const std::string& said) {
    return bytes_file("entry " + name, entry_file(text), said);
  };
  const auto header = [](const std::string& name, const std::string& text, const std::string& said) {
    return bytes_file("header " + name, with_length(text, "ab"), said);
  };
  const std::string x = R"("x":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]})";
  std::string deep = "{\"x\":";
  for (int i = 0; i < 100000; ++i) deep += "[";
  return {
      bytes_file("empty", "", "an empty file"),
      bytes_file("seven bytes", "1234567", "7 bytes"),
      bytes_file("length alone", length_bytes(0), "nothing"),
      bytes_file("header past the end", length_bytes(1000) + "{}", "a header of 1000 bytes"),
      bytes_file("header of 2^63 bytes", length_bytes(uint64_t{1} << 63) + "{}", "9223372036854775808"),
      bytes_file("header of 2^64 - 1 bytes", length_bytes(~uint64_t{0}) + "{}", "18446744073709551615"),
      bytes_file("header of 2^64 - 8 bytes", length_bytes(~uint64_t{7}) + "{}", "18446744073709551608"),
      bytes_file("cut in the header", good.substr(0, 100), "a header of"),
      bytes_file("cut by a byte", good.substr(0, good.size() - 1), "data_offsets"),
      bytes_file("bytes behind", good + "PK", "2 bytes behind the last tensor"),
      bytes_file("zip", "PK\3\4" + std::string(60, 'x'), "a header of"),
      header("no object", "[]", "allowed: a JSON object"),
      header("a blank first", " {" + x + "}", "which begins with {"),
      header("half", "{", "allowed: valid JSON"),
      header("without a brace", "{" + x, "allowed: valid JSON"),
      header("text behind", "{" + x + "}x", "allowed: valid JSON"),
      header("NUL behind", "{" + x + "}" + std::string(1, '\0') + "x", "a NUL character"),
      header("no UTF-8", "{\"\xff\":" + x.substr(4) + "}", "allowed: valid JSON"),
      header("cut in a character", "{\"\xc3", "allowed: valid JSON"),
      header("a lone surrogate", "{\"\\ud800\":" + x.substr(4) + "}", "allowed: valid JSON"),
      header("tensor twice", "{" + x + "," + x + "}", "twice in one object"),
      header("nested arrays", deep, "nested more than"),
      header("metadata of numbers", "{\"__metadata__\":{\"a\":1}," + x + "}", "__metadata__"),
      header("metadata in a list", "{\"__metadata__\":[]," + x + "}", "__metadata__"),
      header("metadata twice", "{\"__metadata__\":{},\"__metadata__\":{}," + x + "}", "twice"),
      header("comment", "{/**/" + x + "}", "allowed: valid JSON"),
      header("comma at the end", "{" + x + ",}", "allowed: valid JSON"),
      entry("of a number", "1", "no object"),
      entry("empty", "{}", "no dtype"),
      entry("without dtype", R"({"shape":[1],"data_offsets":[0,2]})", "no dtype"),
      entry("without shape", R"({"dtype":"BF16","data_offsets":[0,2]})", "no shape"),
      entry("without offsets", R"({"dtype":"BF16","shape":[1]})", "no data_offsets"),
      entry("with more", R"({"dtype":"BF16","shape":[1],"data_offsets":[0,2],"strides":[1]})", "'strides'"),
      entry("key twice", R"({"dtype":"BF16","dtype":"F16","shape":[1],"data_offsets":[0,2]})",
            "'dtype' twice"),
      entry("unknown dtype", R"({"dtype":"BF17","shape":[1],"data_offsets":[0,2]})", "'BF17'"),
      entry("dtype in small letters", R"({"dtype":"bf16","shape":[1],"data_offsets":[0,2]})", "'bf16'"),
      entry("dtype a number", R"({"dtype":16,"shape":[1],"data_offsets":[0,2]})", "no dtype"),
      entry("shape a number", R"({"dtype":"BF16","shape":1,"data_offsets":[0,2]})", "no shape"),
      entry("shape a text", R"({"dtype":"BF16","shape":["1"],"data_offsets":[0,2]})", "in shape"),
      entry("shape nested", R"({"dtype":"BF16","shape":[[1]],"data_offsets":[0,2]})", "in shape"),
      entry("shape negative", R"({"dtype":"BF16","shape":[-1],"data_offsets":[0,2]})", "'-1' in shape"),
      entry("shape of minus zero", R"({"dtype":"BF16","shape":[-0],"data_offsets":[0,2]})", "in shape"),
      entry("shape a fraction", R"({"dtype":"BF16","shape":[1.0],"data_offsets":[0,2]})", "'1.0' in shape"),
      entry("shape 1e0", R"({"dtype":"BF16","shape":[1e0],"data_offsets":[0,2]})", "in shape"),
      entry("shape of 2^64", R"({"dtype":"BF16","shape":[18446744073709551616],"data_offsets":[0,2]})",
            "in shape"),
      entry("shape of 2^63", R"({"dtype":"BF16","shape":[9223372036854775808],"data_offsets":[0,2]})",
            "a dimension of"),
      entry("nine dimensions", R"({"dtype":"BF16","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,2]})",
            "9 dimensions"),
      entry("product past 2^64", R"({"dtype":"BF16","shape":[4294967296,4294967296],"data_offsets":[0,2]})",
            "a product below"),
      entry("product that wraps to the length",
            R"({"dtype":"BF16","shape":[9223372036854775807,2,1],"data_offsets":[0,2]})", "a product below"),
      entry("times bits past 2^64", R"({"dtype":"F64","shape":[576460752303423488],"data_offsets":[0,2]})",
            "a product below"),
      entry("product past 2^64 times 0",
            R"({"dtype":"U8","shape":[4294967296,4294967296,0],"data_offsets":[0,0]})", "a product below"),
      entry("longer than shape", R"({"dtype":"U8","shape":[1],"data_offsets":[0,2]})",
            "2 bytes, allowed: 1 byte,"),
      entry("shorter than shape", R"({"dtype":"F32","shape":[1],"data_offsets":[0,2]})",
            "2 bytes, allowed: 4 bytes"),
      entry("half a byte", R"({"dtype":"F4","shape":[3],"data_offsets":[0,2]})", "allowed: 1.50 bytes"),
      entry("one offset", R"({"dtype":"BF16","shape":[1],"data_offsets":[0]})", "1 data_offsets"),
      entry("three offsets", R"({"dtype":"BF16","shape":[1],"data_offsets":[0,2,2]})", "3 data_offsets"),
      entry("offsets reversed", R"({"dtype":"BF16","shape":[1],"data_offsets":[2,0]})",
            "data_offsets 2 to 0"),
      entry("offsets past the end", R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})",
            "data_offsets 0 to 4"),
      entry("offset negative", R"({"dtype":"BF16","shape":[1],"data_offsets":[-2,0]})", "in data_offsets"),
      entry("offset a fraction", R"({"dtype":"BF16","shape":[1],"data_offsets":[0.0,2]})", "in data_offsets"),
      entry("offset of 2^64 - 1", R"({"dtype":"BF16","shape":[1],"data_offsets":[18446744073709551615,1]})",
            "18446744073709551615"),
      entry("offset null", R"({"dtype":"BF16","shape":[1],"data_offsets":[0,null]})", "in data_offsets"),
      entry("gap before", R"({"dtype":"U8","shape":[1],"data_offsets":[1,2]})", "from 0, where"),
      header(
          "overlap",
          R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
          "data_offsets from 1"),
      header(
          "ten on one range",
          R"({"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]},"b":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}})",
          "data_offsets from 0"),
      header(
          "empty tensor in another",
          R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}})",
          "data_offsets from 1"),
  };
}

inline BadFile index_file(const std::string& name, const std::string& index, const std::string& said) {
  return {"index " + name,
          [=](const fs::path& folder) {
            write_shards(folder, bad_base().tensors, 2);
            write_file(folder / "model.safetensors.index.json", index);
            return folder;
          },
          said};
}

inline BadFile one_shard_index(const std::string& name, const std::string& shard, const std::string& said) {
  nlohmann::json map;
  for (const auto& [tensor, bytes] : bad_base().tensors) map[tensor] = shard;
  return index_file(name, nlohmann::json{{"weight_map", map}}.dump(), said);
}

inline BadFile folder_file(const std::string& name, const std::function<fs::path(const fs::path&)>& write,
                           const std::string& said) {
  return {name, write, said};
}

inline std::vector<BadFile> bad_indexes() {
  return {
      index_file("empty", "", "an empty file"),
      index_file("a list", "[]", "a JSON object"),
      index_file("half", "{\"weight_map\":{", "valid JSON"),
      index_file("without a map", "{\"metadata\":{}}", "no weight_map"),
      index_file("map a list", "{\"weight_map\":[]}", "no weight_map"),
      index_file("file a number", "{\"weight_map\":{\"a\":1}}", "'a' in no file"),
      index_file("tensor twice", R"({"weight_map":{"a":"x","a":"y"}})", "'a' twice"),
      index_file("of no model", R"({"weight_map":{"a":"x"}})", "no layer with experts"),
      index_file("empty map", R"({"weight_map":{}})", "no layer with experts"),
      index_file("nested", "{\"metadata\":" + std::string(100000, '['), "nested more than"),
      one_shard_index("to an upper folder", "../model-0.safetensors", "shard '../model-0.safetensors'"),
      one_shard_index("to another place", "/etc/passwd", "shard '/etc/passwd'"),
      one_shard_index("to the folder", ".", "shard '.'"),
      one_shard_index("to nothing", "", "shard ''"),
      one_shard_index("to a missing shard", "model-7.safetensors", "model-7.safetensors"),
      one_shard_index("to a shard without it", "model-0.safetensors", "what the index says"),
      one_shard_index("to itself", "model.safetensors.index.json", "a header of"),
      folder_file(
          "folder without files", [](const fs::path& f) { return f; }, "0 .safetensors files"),
      folder_file(
          "folder of two",
          [](const fs::path& f) {
            write_file(f / "a.safetensors", safetensors(bad_base().tensors));
            write_file(f / "b.safetensors", safetensors(bad_base().tensors));
            return f;
          },
          "2 .safetensors files"),
      folder_file(
          "nowhere", [](const fs::path& f) { return f / "none"; }, "no such file"),
      folder_file(
          "a device", [](const fs::path&) { return fs::path("/dev/null"); }, "a pipe or a device"),
      folder_file(
          "a folder as a shard",
          [](const fs::path& f) {
            fs::create_directory(f / "x.safetensors");
            return f;
          },
          "a folder"),
  };
}

inline BadFile model_file(const std::string& name, const std::function<void(Tensors&)>& change,
                          const std::string& said, Family family = Family::qwen,
                          Encoding encoding = Encoding::bf16, int64_t hidden = 32) {
  return {"model " + name,
          [=](const fs::path& folder) {
            ModelShape shape = kBadShape;
            shape.hidden = hidden;
            Model model = make_model(family, shape, encoding);
            change(model.tensors);
            write_file(folder / "model.safetensors", safetensors(model.tensors));
            return folder / "model.safetensors";
          },
          said};
}

// Returns valid files of models that a block of the shape kBadShape cannot use.
inline std::vector<BadFile> bad_models() {
  const std::string e = "model.layers.0.mlp.experts.";
  const auto erase = [](const std::string& name) { return [=](Tensors& t) { t.erase(name); }; };
  const auto renamed = [](const std::string& from, const std::string& to) {
    return [=](Tensors& t) {
      t[to] = t[from];
      t.erase(from);
    };
  };
  const auto set = [](const std::string& name, const TensorBytes& tensor) {
    return [=](Tensors& t) { t[name] = tensor; };
  };
  const auto dtype = [](const std::string& name, const std::string& type) {
    return [=](Tensors& t) { t[name].dtype = type; };
  };
  const auto poke = [](const std::string& name, const std::string& value) {
    return
        [=](Tensors& t) { t[name].bytes.replace(t[name].bytes.size() - value.size(), value.size(), value); };
  };
  const TensorBytes small{"BF16", {2, 2}, std::string(8, '\1')}, none{"BF16", {0, 32}, ""};
  const std::string fp8 = "model.layers.1.mlp.experts.", v4 = "layers.0.ffn.experts.";
  const Family deepseek = Family::deepseek, oss = Family::gpt_oss;
  std::vector<BadFile> files = {
      model_file("without up", erase(e + "1.up_proj.weight"), "no tensor"),
      model_file(
          "without expert 0",
          [=](Tensors& t) {
            for (const char* p : {"gate_proj", "up_proj", "down_proj"}) t.erase(e + "0." + p + ".weight");
          },
          "none of number 0"),
      model_file(
          "with an expert too many",
          [=](Tensors& t) {
            for (const char* p : {"gate_proj", "up_proj", "down_proj"})
              t[e + "2." + p + ".weight"] = t[e + "1." + p + ".weight"];
          },
          "use --experts 3"),
      model_file("with unknown matrices", renamed(e + "1.up_proj.weight", e + "1.top.weight"), "no tensor"),
      model_file("with a small gate", set(e + "1.gate_proj.weight", small), "shape [2, 2]"),
      model_file("with an empty gate", set(e + "1.gate_proj.weight", none), "an empty tensor"),
      model_file(
          "with a vector", [=](Tensors& t) { t[e + "0.gate_proj.weight"].shape = {1024}; }, "shape [1024]"),
      model_file(
          "with a wider layer", [](Tensors&) {}, "use --mlp-dim 32 --hidden 64", Family::qwen, Encoding::bf16,
          64),
      model_file("of integers", dtype(e + "0.gate_proj.weight", "I16"), "type I16"),
      model_file("of bytes", set(e + "0.gate_proj.weight", {"U8", {32, 32}, std::string(1024, '\1')}),
                 "type U8"),
      model_file("of fp8 without scales",
                 set(e + "0.gate_proj.weight", {"F8_E4M3", {32, 32}, std::string(1024, '\1')}),
                 "without scales"),
      model_file("of fp8 e5m2", set(e + "0.gate_proj.weight", {"F8_E5M2", {32, 32}, std::string(1024, '\1')}),
                 "type F8_E5M2"),
      model_file("with a NaN", poke(e + "1.down_proj.weight", "\xc0\x7f"), "not finite"),
      model_file("with an infinity", poke(e + "0.up_proj.weight", "\x80\xff"), "not finite"),
      model_file("with a router of another width", set("model.layers.0.mlp.gate.weight", small),
                 "shape [2, 2]"),
      model_file(
          "with a shared expert",
          [](Tensors& t) {
            for (const char* p : {"gate_proj", "up_proj", "down_proj"})
              t["model.layers.0.mlp.shared_expert." + std::string(p) + ".weight"] = {
                  "BF16", {32, 32}, std::string(2048, '\1')};
          },
          "use --shared-expert-dim 32"),
      model_file(
          "twice in one file",
          [](Tensors& t) {
            Tensors copy = t;
            for (const auto& [name, tensor] : copy) t["vision." + name] = tensor;
          },
          "one model"),
      model_file(
          "dense",
          [](Tensors& t) {
            t.clear();
            t["model.layers.0.mlp.gate_proj.weight"] = {"BF16", {1}, "ab"};
          },
          "no layer with experts"),
      model_file(
          "empty", [](Tensors& t) { t.clear(); }, "no layer with experts"),
      model_file(
          "with a layer past 2^63",
          [](Tensors& t) {
            t.clear();
            t["model.layers.99999999999999999999.mlp.experts.0.gate_proj.weight"] = {"BF16", {1}, "ab"};
          },
          "no layer with experts"),
      model_file("with an expert past 2^63",
                 renamed(e + "1.up_proj.weight", e + "99999999999999999999.up_proj.weight"), "no tensor"),
      model_file("fp8 with few scales",
                 set(fp8 + "0.gate_proj.weight_scale_inv", {"F32", {3, 1}, std::string(12, '\1')}),
                 "a scale for each", deepseek, Encoding::f8_e4m3),
      model_file("fp8 with scales of integers",
                 set(fp8 + "0.gate_proj.weight_scale_inv", {"I32", {1, 1}, std::string(4, '\1')}),
                 "scales of type I32", deepseek, Encoding::f8_e4m3),
      model_file("fp8 with a NaN", poke(fp8 + "0.gate_proj.weight", "\x7f"), "not finite", deepseek,
                 Encoding::f8_e4m3),
      model_file("fp8 with an infinite scale",
                 set(fp8 + "0.gate_proj.weight_scale_inv", {"F32", {1, 1}, std::string("\0\0\x80\x7f", 4)}),
                 "not finite", deepseek, Encoding::f8_e4m3),
      model_file(
          "fp8 with a scale that is too large",
          set(fp8 + "0.gate_proj.weight_scale_inv", {"F32", {1, 1}, std::string("\xff\xff\x7f\x7f", 4)}),
          "not finite", deepseek, Encoding::f8_e4m3),
      model_file("mxfp4 with a NaN scale", poke("model.layers.0.mlp.experts.down_proj_scales", "\xff"),
                 "not finite", oss, Encoding::mxfp4),
      model_file(
          "mxfp4 with scales of a half",
          [](Tensors& t) {
            TensorBytes& s = t["model.layers.0.mlp.experts.down_proj_scales"];
            s = {"U8", {2, 16, 1}, std::string(32, '\1')};
          },
          "a scale for each 32", oss, Encoding::mxfp4),
      model_file("mxfp4 without scales", erase("model.layers.0.mlp.experts.gate_up_proj_scales"), "no tensor",
                 oss, Encoding::mxfp4),
      model_file(
          "mxfp4 in blocks of 8",
          [](Tensors& t) {
            t["model.layers.0.mlp.experts.gate_up_proj_blocks"].shape = {2, 64, 2, 8};
          },
          "[E, rows, columns / 32, 16]", oss, Encoding::mxfp4),
      model_file("nvfp4", dtype(v4 + "0.w1.scale", "F8_E4M3"), "scales of type F8_E4M3", Family::deepseek_v4,
                 Encoding::mxfp4),
      model_file("int4 with zero points", set(e + "0.up_proj.weight_zero_point", small), "symmetric",
                 Family::kimi_int4, Encoding::int4),
      model_file("int4 with an order of columns", set(e + "0.up_proj.weight_g_idx", small),
                 "order of their columns", Family::kimi_int4, Encoding::int4),
      model_file("int4 of another shape",
                 set(e + "0.up_proj.weight_shape", {"I64", {2}, std::string(16, '\1')}),
                 "that of the packed values", Family::kimi_int4, Encoding::int4),
      model_file("int4 in bytes of floats", dtype(e + "0.up_proj.weight_packed", "F32"), "type F32",
                 Family::kimi_int4, Encoding::int4),
      model_file(
          "stacks of another width", [](Tensors&) {}, "--hidden 64 --mlp-dim 32", Family::fused,
          Encoding::bf16, 64),
      model_file("stack alone", erase("model.layers.0.mlp.experts.down_proj"), "no tensor", Family::fused),
      model_file(
          "stacks that do not fit each other",
          [](Tensors& t) {
            t["model.layers.0.mlp.experts.down_proj"].shape = {2, 64, 16};
          },
          "[E, 2M, H] and [E, H, M]", Family::fused),
      model_file(
          "stack of one matrix",
          [](Tensors& t) { t["model.layers.0.mlp.experts.down_proj"].shape = {64, 32}; }, "[64, 32]",
          Family::fused),
  };
  return files;
}

inline std::vector<BadFile> all_bad_files() {
  std::vector<BadFile> all = bad_headers();
  for (const auto& more : {bad_indexes(), bad_models()}) all.insert(all.end(), more.begin(), more.end());
  return all;
}

}  // namespace moehill::testing_models
