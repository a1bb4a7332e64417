// Runs a TFLite file in TensorFlow Lite Micro on inputs that it was verified with, and compares.
#include <cmath>
#include <cstdio>
#include <cstring>

#include "board.h"  // made by header.py
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

alignas(16) static uint8_t arena[board::kArena];

int main() {
  tflite::MicroMutableOpResolver<board::kOperators> operators;
  board::AddOperators(operators);
  tflite::MicroInterpreter interpreter(tflite::GetModel(board::model), operators, arena, sizeof arena);
  if (interpreter.AllocateTensors() != kTfLiteOk) return 1;
  float worst = 0;
  for (const board::Golden& golden : board::goldens) {
    for (size_t at = 0; at < interpreter.inputs_size(); ++at)
      memcpy(interpreter.input(at)->data.raw, golden.inputs[at], interpreter.input(at)->bytes);
    // The fused operator would go on from the call before.
    if (interpreter.Reset() != kTfLiteOk || interpreter.Invoke() != kTfLiteOk) return 1;
    for (size_t at = 0; at < interpreter.outputs_size(); ++at)
      for (size_t k = 0; k < interpreter.output(at)->bytes / sizeof(float); ++k) {
        const float wanted = golden.outputs[at][k], error = std::fabs(interpreter.output(at)->data.f[k] - wanted);
        if (!(error <= worst * (1 + std::fabs(wanted)))) worst = error / (1 + std::fabs(wanted));
      }
  }
  std::printf("%d goldens, largest error %g\n", int(sizeof board::goldens / sizeof *board::goldens), worst);
  return worst <= 1e-4f ? 0 : 1;
}
