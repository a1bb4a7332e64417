/* A backend of Triton in the place of that for ONNX Runtime, which the wheel has not.
 *
 * It hands the inputs of each request, states included, to a process at the socket $RNNEXPORT_RUNTIME, and gives what
 * comes back to Triton as outputs or as states. All that decides which request gets which state is Triton's own.
 *
 *     cc -shared -fPIC -o libtriton_onnxruntime.so backend.c
 *
 * The symbols are those of Triton's C API (tritonbackend.h); the server that loads the backend has them.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef struct error error;
typedef struct object object; /* of any kind: model, request, input, response, output, state */

extern error* TRITONSERVER_ErrorNew(int code, const char* message);
extern const char* TRITONSERVER_ErrorMessage(error*);
extern error* TRITONBACKEND_ModelInstanceModel(object* instance, object** model);
extern error* TRITONBACKEND_ModelRepository(object* model, int* kind, const char** place);
extern error* TRITONBACKEND_ModelVersion(object* model, uint64_t* version);
extern error* TRITONBACKEND_RequestInputCount(object* request, uint32_t* count);
extern error* TRITONBACKEND_RequestInputByIndex(object* request, uint32_t at, object** input);
extern error* TRITONBACKEND_RequestOutputCount(object* request, uint32_t* count);
extern error* TRITONBACKEND_RequestOutputName(object* request, uint32_t at, const char** name);
extern error* TRITONBACKEND_RequestRelease(object* request, uint32_t flags);
extern error* TRITONBACKEND_InputProperties(
    object* input, const char** name, int* type, const int64_t** shape, uint32_t* rank, uint64_t* bytes, uint32_t* count);
extern error* TRITONBACKEND_InputBuffer(
    object* input, uint32_t at, const void** data, uint64_t* bytes, int* memory, int64_t* device);
extern error* TRITONBACKEND_ResponseNew(object** response, object* request);
extern error* TRITONBACKEND_ResponseOutput(
    object* response, object** output, const char* name, int type, const int64_t* shape, uint32_t rank);
extern error* TRITONBACKEND_OutputBuffer(object* output, void** data, uint64_t bytes, int* memory, int64_t* device);
extern error* TRITONBACKEND_ResponseSend(object* response, uint32_t flags, error* failure);
extern error* TRITONBACKEND_StateNew(
    object** state, object* request, const char* name, int type, const int64_t* shape, uint32_t rank);
extern error* TRITONBACKEND_StateBuffer(object* state, void** data, uint64_t bytes, int* memory, int64_t* device);
extern error* TRITONBACKEND_StateUpdate(object* state);

enum { MAX_RANK = 8, INTERNAL = 1, FINAL = 1, ALL = 1 };

static void must(error* failure) {
  if (failure != NULL) {
    fprintf(stderr, "backend: %s\n", TRITONSERVER_ErrorMessage(failure));
    abort();
  }
}

static void put(int to, const void* data, size_t bytes) {
  while (bytes > 0) {
    ssize_t done = write(to, data, bytes);
    if (done <= 0) abort();
    data = (const char*)data + done;
    bytes -= done;
  }
}

static void put_number(int to, int64_t number) { put(to, &number, sizeof number); }

static void put_text(int to, const char* text) {
  put_number(to, strlen(text));
  put(to, text, strlen(text));
}

static void get(int from, void* data, size_t bytes) {
  while (bytes > 0) {
    ssize_t done = read(from, data, bytes);
    if (done <= 0) abort();
    data = (char*)data + done;
    bytes -= done;
  }
}

static int64_t get_number(int from) {
  int64_t number;
  get(from, &number, sizeof number);
  return number;
}

static char* get_text(int from) {
  int64_t length = get_number(from);
  char* text = calloc(1, length + 1);
  get(from, text, length);
  return text;
}

static int connected(void) {
  struct sockaddr_un place = {.sun_family = AF_UNIX};
  strncpy(place.sun_path, getenv("RNNEXPORT_RUNTIME"), sizeof place.sun_path - 1);
  int to = socket(AF_UNIX, SOCK_STREAM, 0);
  if (connect(to, (struct sockaddr*)&place, sizeof place) != 0) abort();
  return to;
}

static void send_inputs(int to, object* request) {
  uint32_t inputs;
  must(TRITONBACKEND_RequestInputCount(request, &inputs));
  put_number(to, inputs);
  for (uint32_t at = 0; at < inputs; ++at) {
    object* input;
    const char* name;
    int type;
    const int64_t* shape;
    uint32_t rank, buffers;
    uint64_t bytes;
    must(TRITONBACKEND_RequestInputByIndex(request, at, &input));
    must(TRITONBACKEND_InputProperties(input, &name, &type, &shape, &rank, &bytes, &buffers));
    put_text(to, name);
    put_number(to, type);
    put_number(to, rank);
    put(to, shape, rank * sizeof *shape);
    put_number(to, bytes);
    for (uint32_t buffer = 0; buffer < buffers; ++buffer) {
      const void* data;
      int memory = 0;
      int64_t device = 0;
      must(TRITONBACKEND_InputBuffer(input, buffer, &data, &bytes, &memory, &device));
      put(to, data, bytes);
    }
  }
}

static int is_wanted(object* request, const char* name) {
  uint32_t outputs;
  const char* wanted;
  must(TRITONBACKEND_RequestOutputCount(request, &outputs));
  for (uint32_t at = 0; at < outputs; ++at) {
    must(TRITONBACKEND_RequestOutputName(request, at, &wanted));
    if (strcmp(wanted, name) == 0) return 1;
  }
  return 0; /* that of a row without a request, say */
}

static void receive_output(int from, object* request, object* response) {
  char* name = get_text(from);
  int is_state = get_number(from), type = get_number(from);
  int64_t rank = get_number(from), shape[MAX_RANK], bytes, device = 0;
  object* target = NULL;
  void* data;
  int memory = 0;
  if (rank > MAX_RANK) abort();
  get(from, shape, rank * sizeof *shape);
  bytes = get_number(from);
  if (is_state) {
    must(TRITONBACKEND_StateNew(&target, request, name, type, shape, rank));
    must(TRITONBACKEND_StateBuffer(target, &data, bytes, &memory, &device));
    get(from, data, bytes);
    must(TRITONBACKEND_StateUpdate(target));
  } else if (is_wanted(request, name)) {
    must(TRITONBACKEND_ResponseOutput(response, &target, name, type, shape, rank));
    must(TRITONBACKEND_OutputBuffer(target, &data, bytes, &memory, &device));
    get(from, data, bytes);
  } else {
    data = malloc(bytes + 1);
    get(from, data, bytes);
    free(data);
  }
  free(name);
}

static void answer(int from, object* request) {
  object* response;
  error* failure = NULL;
  must(TRITONBACKEND_ResponseNew(&response, request));
  int64_t outputs = get_number(from);
  if (outputs < 0) failure = TRITONSERVER_ErrorNew(INTERNAL, get_text(from));
  for (; outputs > 0; --outputs) receive_output(from, request, response);
  must(TRITONBACKEND_ResponseSend(response, FINAL, failure));
  must(TRITONBACKEND_RequestRelease(request, ALL));
}

error* TRITONBACKEND_ModelInstanceExecute(object* instance, object** requests, const uint32_t count) {
  object* model;
  int kind, runtime = connected();
  const char* place;
  uint64_t version;
  must(TRITONBACKEND_ModelInstanceModel(instance, &model));
  must(TRITONBACKEND_ModelRepository(model, &kind, &place));
  must(TRITONBACKEND_ModelVersion(model, &version));
  put_text(runtime, place);
  put_number(runtime, version);
  put_number(runtime, count);
  for (uint32_t at = 0; at < count; ++at) send_inputs(runtime, requests[at]);
  for (uint32_t at = 0; at < count; ++at) answer(runtime, requests[at]);
  close(runtime);
  return NULL;
}
