#include "moehill/catalog/model_record.h"

namespace moehill {

Json model_record(const std::string& name, const std::string& source, const ModelBlock& block) {
  Json json = {{"schema", "moehill/1"}, {"command", "models"}, {"name", name}, {"source", source}};
  json["model_type"] = block.model_type;
  json["hidden"] = block.shape.hidden;
  json["mlp_dim"] = block.shape.mlp_dim;
  json["experts"] = block.shape.experts;
  json["topk"] = block.shape.topk;
  json["shared_expert_dim"] = block.shape.shared_dim;
  json["router"] = to_string(block.shape.router);
  json["expert_form"] = to_string(block.shape.form);
  json["layers"] = block.num_layers;
  json["moe_layers"] = block.num_moe_layers;
  json["layer"] = block.layer;
  json["weight_bytes"] = weight_bytes(block, kBf16Bytes);
  json["flops_per_token"] = flops_per_token(block);
  json["left_out"] = Json::array();
  for (const LeftOut& part : block.left_out)
    json["left_out"].push_back({{"key", part.key}, {"value", part.value}, {"what", part.what}});
  json["assumed"] = block.assumed;
  return json;
}

}  // namespace moehill
