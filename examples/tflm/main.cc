// Runs a TFLite file in TensorFlow Lite Micro on inputs that it was verified with, and compares.
#include <algorithm>
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
  if (interpreter.AllocateTensors() != kTfLiteOk) return 2;
  int goldens = 0, wrong = 0;
  float worst = 0;
  for (const board::Golden& golden : board::goldens) {
    for (size_t at = 0; at < interpreter.inputs_size(); ++at)
      memcpy(interpreter.input(at)->data.raw, golden.inputs[at], interpreter.input(at)->bytes);
    // The fused operator would go on from the call before.
    if (interpreter.Reset() != kTfLiteOk || interpreter.Invoke() != kTfLiteOk) return 2;
    for (size_t at = 0; at < interpreter.outputs_size(); ++at)
      for (size_t k = 0; k < interpreter.output(at)->bytes / sizeof(float); ++k) {
        const float error = std::fabs(interpreter.output(at)->data.f[k] - golden.outputs[at][k]);
        wrong += !(error <= golden.allowed[at][k]);  // NaN is wrong as well
        worst = std::max(worst, error / golden.allowed[at][k]);
      }
    ++goldens;
  }
  std::printf("%d goldens, %d values wrong, largest error %.2g of what passes\n", goldens, wrong, worst);
  std::printf("arena %d of %d bytes\n", int(interpreter.arena_used_bytes()), board::kArena);
  return wrong ? 1 : 0;
}
