#include <fmt/format.h>

#include "cli/commands.hpp"

namespace einjit {

Tensor evaluate(const std::string& expression, const std::vector<Tensor>& operands,
                const Scale& scale, const CompileOptions& options) {
  Engine& engine = Engine::standard();
  std::vector<Layout> layouts;
  for (const Tensor& operand : operands) layouts.push_back(operand.layout);
  CompileOptions chosen = options;
  if (scale.alpha != 1) chosen.scaling = Scaling::alpha_beta;
  const Kernel kernel = engine.compile(expression, layouts, chosen);
  Tensor result = Tensor::zeros(kernel.output().dtype, kernel.output().extents);
  std::vector<void*> pointers{result.data()};
  for (const Tensor& operand : operands) pointers.push_back(operand.data());
  if (kernel.run(pointers.data(), scale) != Status::ok)
    throw Error({"no memory for temporaries", expression});
  return result;
}

int run_eval(const EvalArguments& arguments) {
  std::vector<Tensor> operands;
  for (const std::string& path : arguments.inputs)
    operands.push_back(value_or_throw(load_npy(path)));
  const Tensor result = evaluate(arguments.expression, operands);
  if (arguments.output.empty())
    fmt::print("{}\n", result.to_string());
  else
    value_or_throw(save_npy(arguments.output, result));
  return 0;
}

}  // namespace einjit
