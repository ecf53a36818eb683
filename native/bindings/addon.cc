// The JavaScript surface of the engine: describe, call, workspaceBytes, memory segments, threads. Nothing else includes
// napi.h.
#include <napi.h>

#include <cstring>
#include <set>
#include <vector>

#include "../core/device.h"
#include "../core/segments.h"
#include "../core/thread_pool.h"
#include "arguments.h"

namespace nft::bindings {

namespace {

constexpr int kArgumentSlots = 512;
// Slots 0..2 carry the workspace: segment id (or -1), byte offset, bytes. Arguments start at 3.
constexpr int kFirstArgument = 3;

// Per-environment state: every worker thread has its own.
struct Instance {
  Napi::Reference<Napi::Float64Array> arguments;
  double* slots = nullptr;
  std::set<SegmentId> segments;  // released with the environment
};

Instance& instance(const Napi::Env& env) { return *env.GetInstanceData<Instance>(); }

// Runs f; C++ exceptions become JavaScript errors with a code. lib/native/errors.ts makes them FinetuneErrors.
template <class F>
Napi::Value guard(const Napi::Env& env, F&& f) {
  try {
    return f();
  } catch (const Error& e) {
    Napi::Error error = Napi::Error::New(env, e.what());
    error.Set("code", Napi::String::New(env, e.code));
    throw error;
  } catch (const Napi::Error&) { throw; } catch (const std::bad_alloc&) {
    Napi::Error error = Napi::Error::New(env, "the system has no memory left");
    error.Set("code", Napi::String::New(env, "ERR_OUT_OF_MEMORY"));
    throw error;
  }
}

// --- schema -------------------------------------------------------------------------------------------------------

class Describe {
 public:
  explicit Describe(Napi::Env env) : env_(env), fields_(Napi::Array::New(env)) {}
  void tensor(const char* name, Access access, Tensor&) { add(name, "tensor", access, false); }
  void tensor_optional(const char* name, Access access, Tensor&) { add(name, "tensor", access, true); }
  void integer(const char* name, int64_t& value) { add_default(name, "integer", static_cast<double>(value)); }
  void real(const char* name, double& value) { add_default(name, "real", value); }
  Napi::Array fields() const { return fields_; }

 private:
  Napi::Object push(const char* name, const char* kind) {
    Napi::Object field = Napi::Object::New(env_);
    field.Set("name", name);
    field.Set("kind", kind);
    fields_.Set(fields_.Length(), field);
    return field;
  }
  void add(const char* name, const char* kind, Access access, bool optional) {
    static const char* const kAccess[] = {"in", "out", "inout"};
    Napi::Object field = push(name, kind);
    field.Set("access", kAccess[static_cast<int>(access)]);
    field.Set("optional", optional);
  }
  void add_default(const char* name, const char* kind, double value) { push(name, kind).Set("default", value); }

  Napi::Env env_;
  Napi::Array fields_;
};

template <class Args>
Napi::Object describe_op(Napi::Env env, const char* name, bool workspace) {
  Describe visitor(env);
  Args args;
  args.fields(visitor);
  Napi::Object op = Napi::Object::New(env);
  op.Set("name", name);
  op.Set("workspace", workspace);
  op.Set("fields", visitor.fields());
  return op;
}

Napi::Value describe(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Napi::Object result = Napi::Object::New(env);
  Napi::Array ops = Napi::Array::New(env);
#define NFT_OP(op, Args, ref, cpu, workspace) ops.Set(ops.Length(), describe_op<Args>(env, #op, workspace));
#include "../ops/ops.def"
#undef NFT_OP
  result.Set("ops", ops);
  Napi::Array dtypes = Napi::Array::New(env);
  for (const DTypeInfo& d : kDTypes) {
    Napi::Object o = Napi::Object::New(env);
    o.Set("name", d.name);
    o.Set("blockElements", d.block_elements);
    o.Set("blockBytes", d.block_bytes);
    dtypes.Set(dtypes.Length(), o);
  }
  result.Set("dtypes", dtypes);
  Napi::Array updates = Napi::Array::New(env);
#define NFT_UPDATE(name, Rule) updates.Set(updates.Length(), #name);
#include "../updates/updates.def"
#undef NFT_UPDATE
  result.Set("updates", updates);
  return result;
}

// --- calls --------------------------------------------------------------------------------------------------------

template <class Args>
Args unpack(const double* slots, bool dry) {
  Args args;
  Unpack visitor(Args::kName, slots, dry);
  args.fields(visitor);
  args.check();
  return args;
}

template <class Args>
void call_op(Kernel<Args> kernel, const double* slots, bool dry, int threads) {
  const Args args = unpack<Args>(slots + kFirstArgument, dry);
  if (dry) return;
  Context context;
  context.threads = threads;
  if (slots[0] != kAbsent) {
    const SegmentView view = segment(static_cast<SegmentId>(slots[0]));
    const double end = slots[1] + slots[2];
    if (slots[1] < 0 || end > static_cast<double>(view.bytes)) fail("ERR_SHAPE", "workspace reaches past its memory");
    context.workspace = view.data + static_cast<int64_t>(slots[1]);
    context.workspace_bytes = static_cast<size_t>(slots[2]);
  }
  kernel(args, context);
}

template <class Args>
size_t query_workspace(WorkspaceQuery<Args> query, const double* slots) {
  if (query == nullptr) return 0;
  Context context;
  context.threads = ThreadPool::instance().threads();
  return query(unpack<Args>(slots + kFirstArgument, true), context);
}

const Device& device_argument(const Napi::CallbackInfo& info) {
  return device(static_cast<DeviceId>(info[0].As<Napi::Number>().Int32Value()));
}

enum class OpIndex : int32_t {
#define NFT_OP(op, Args, ref, cpu, workspace) op,
#include "../ops/ops.def"
#undef NFT_OP
};

void call_op(const Device& d, OpIndex index, const double* slots, bool dry, int threads) {
  switch (index) {
#define NFT_OP(op, Args, ref, cpu, workspace) \
  case OpIndex::op:                           \
    return call_op<Args>(d.op, slots, dry, threads);
#include "../ops/ops.def"
#undef NFT_OP
    default: fail("ERR_SHAPE", "unknown op number");
  }
}

// call(device, op, dry): runs the op on the arguments in the argument buffer; dry checks shapes only.
Napi::Value call(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&]() -> Napi::Value {
    const auto index = static_cast<OpIndex>(info[1].As<Napi::Number>().Int32Value());
    call_op(device_argument(info), index, instance(info.Env()).slots, info[2].As<Napi::Boolean>(),
            ThreadPool::instance().threads());
    return info.Env().Undefined();
  });
}

// replay(Float64Array): the calls of a command list, one after the other. Each is device, op, threads, the number of slots,
// and these slots as in the argument buffer. Its workspace was sized for `threads`, whatever the pool has now.
Napi::Value replay(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&]() -> Napi::Value {
    constexpr int64_t kHeader = 4;
    const Napi::Float64Array list = info[0].As<Napi::Float64Array>();
    const double *at = list.Data(), *const end = at + list.ElementLength();
    while (at < end) {
      const int64_t left = end - at - kHeader;
      if (left < 0 || !(at[3] >= kFirstArgument && at[3] <= static_cast<double>(left)))
        fail("ERR_SHAPE", "a command list is cut off");
      call_op(device(static_cast<DeviceId>(static_cast<int>(at[0]))), static_cast<OpIndex>(static_cast<int>(at[1])),
              at + kHeader, false, static_cast<int>(at[2]));
      at += kHeader + static_cast<int64_t>(at[3]);
    }
    return info.Env().Undefined();
  });
}

// workspaceBytes(device, op): what call will need for the arguments in the argument buffer.
Napi::Value workspace_bytes(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&]() -> Napi::Value {
    const Device& d = device_argument(info);
    const double* slots = instance(info.Env()).slots;
    size_t bytes = 0;
    switch (static_cast<OpIndex>(info[1].As<Napi::Number>().Int32Value())) {
#define NFT_OP(op, Args, ref, cpu, workspace)               \
  case OpIndex::op:                                         \
    bytes = query_workspace<Args>(d.op##_workspace, slots); \
    break;
#include "../ops/ops.def"
#undef NFT_OP
      default: fail("ERR_SHAPE", "unknown op number");
    }
    return Napi::Number::New(info.Env(), static_cast<double>(bytes));
  });
}

// --- memory -------------------------------------------------------------------------------------------------------

Napi::Value allocate(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&]() -> Napi::Value {
    const double bytes = info[0].As<Napi::Number>().DoubleValue();
    if (!(bytes >= 0 && bytes <= 9007199254740992.0)) fail("ERR_SHAPE", "a segment's bytes must be 0 to 2^53");
    const SegmentId id =
        allocate_segment(static_cast<size_t>(bytes), static_cast<SegmentCategory>(info[1].As<Napi::Number>().Int32Value()));
    instance(info.Env()).segments.insert(id);
    return Napi::Number::New(info.Env(), static_cast<double>(id));
  });
}

Napi::Value map(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&]() -> Napi::Value {
    const SegmentId id = map_file(info[0].As<Napi::String>().Utf8Value());
    instance(info.Env()).segments.insert(id);
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("segment", static_cast<double>(id));
    result.Set("bytes", static_cast<double>(segment(id).bytes));
    return result;
  });
}

// mapScratch(path, bytes, linkable): a writable segment kept by a file without a name.
Napi::Value map_scratch_file(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&]() -> Napi::Value {
    const double bytes = info[1].As<Napi::Number>().DoubleValue();
    if (!(bytes > 0 && bytes <= 9007199254740992.0)) fail("ERR_SHAPE", "a scratch file's bytes must be 1 to 2^53");
    const SegmentId id =
        map_scratch(info[0].As<Napi::String>().Utf8Value(), static_cast<size_t>(bytes), info[2].As<Napi::Boolean>().Value());
    instance(info.Env()).segments.insert(id);
    return Napi::Number::New(info.Env(), static_cast<double>(id));
  });
}

// isLinkable(segment): whether linkScratch can name its file.
Napi::Value can_link(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&]() -> Napi::Value {
    return Napi::Boolean::New(info.Env(), is_linkable(info[0].As<Napi::Number>().Int64Value()));
  });
}

// linkScratch(segment, path): the file of a scratch segment gets a name.
Napi::Value link(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&]() -> Napi::Value {
    link_scratch(info[0].As<Napi::Number>().Int64Value(), info[1].As<Napi::String>().Utf8Value());
    return info.Env().Undefined();
  });
}

Napi::Value release(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&]() -> Napi::Value {
    const SegmentId id = info[0].As<Napi::Number>().Int64Value();
    release_segment(id);
    instance(info.Env()).segments.erase(id);
    return info.Env().Undefined();
  });
}

// read(segment, offset, Uint8Array) / write(segment, offset, Uint8Array): copies bytes out of and into a segment.
template <bool kWrite>
Napi::Value copy(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&]() -> Napi::Value {
    const SegmentView view = segment(info[0].As<Napi::Number>().Int64Value());
    const int64_t offset = info[1].As<Napi::Number>().Int64Value();
    Napi::Uint8Array bytes = info[2].As<Napi::Uint8Array>();
    const size_t count = bytes.ByteLength();
    if (offset < 0 || count > view.bytes || static_cast<size_t>(offset) > view.bytes - count)
      fail("ERR_SHAPE", "a copy reaches past the end of its memory");
    if (kWrite && !view.writable) fail("ERR_SHAPE", "a file map cannot be written");
    if (count == 0) return info.Env().Undefined();  // an empty array may have no data at all
    if (kWrite)
      std::memcpy(view.data + offset, bytes.Data(), count);
    else
      std::memcpy(bytes.Data(), view.data + offset, count);
    return info.Env().Undefined();
  });
}

Napi::Value memory(const Napi::CallbackInfo& info) {
  static const char* const kNames[] = {"weights", "gradients", "optimizer", "arena", "other", "mapped", "offloaded"};
  const MemoryStatistics s = memory_statistics();
  Napi::Object result = Napi::Object::New(info.Env());
  Napi::Object current = Napi::Object::New(info.Env()), peak = Napi::Object::New(info.Env());
  for (int i = 0; i < static_cast<int>(SegmentCategory::count); ++i) {
    current.Set(kNames[i], static_cast<double>(s.current[i]));
    peak.Set(kNames[i], static_cast<double>(s.peak[i]));
  }
  result.Set("current", current);
  result.Set("peak", peak);
  result.Set("heapCurrent", static_cast<double>(s.heap_current));
  result.Set("heapPeak", static_cast<double>(s.heap_peak));
  result.Set("allocations", static_cast<double>(s.allocations));
  return result;
}

Napi::Value reset_peak(const Napi::CallbackInfo& info) {
  reset_memory_peak();
  return info.Env().Undefined();
}

Napi::Value set_allocation_failure(const Napi::CallbackInfo& info) {
  fail_allocation_after(info[0].As<Napi::Number>().Int64Value());
  return info.Env().Undefined();
}

// --- machine ------------------------------------------------------------------------------------------------------

Napi::Value threads(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&]() -> Napi::Value {
    if (info.Length() > 0 && info[0].IsNumber()) ThreadPool::instance().set_threads(info[0].As<Napi::Number>().Int32Value());
    return Napi::Number::New(info.Env(), ThreadPool::instance().threads());
  });
}

Napi::Value instruction_set(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&]() -> Napi::Value { return Napi::String::New(info.Env(), cpu_instruction_set()); });
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  auto* state = new Instance;
  Napi::Float64Array buffer = Napi::Float64Array::New(env, kArgumentSlots);
  state->slots = buffer.Data();
  state->arguments = Napi::Reference<Napi::Float64Array>::New(buffer, 1);
  env.SetInstanceData(state);
  env.AddCleanupHook([state] {
    for (SegmentId id : state->segments) {
      try {
        release_segment(id);
      } catch (const Error&) {  // already released elsewhere: nothing is left to free
      }
    }
    state->segments.clear();
  });
  exports.Set("arguments", buffer);
  exports.Set("describe", Napi::Function::New(env, describe));
  exports.Set("call", Napi::Function::New(env, call));
  exports.Set("replay", Napi::Function::New(env, replay));
  exports.Set("workspaceBytes", Napi::Function::New(env, workspace_bytes));
  exports.Set("allocate", Napi::Function::New(env, allocate));
  exports.Set("map", Napi::Function::New(env, map));
  exports.Set("mapScratch", Napi::Function::New(env, map_scratch_file));
  exports.Set("isLinkable", Napi::Function::New(env, can_link));
  exports.Set("linkScratch", Napi::Function::New(env, link));
  exports.Set("release", Napi::Function::New(env, release));
  exports.Set("read", Napi::Function::New(env, copy<false>));
  exports.Set("write", Napi::Function::New(env, copy<true>));
  exports.Set("memory", Napi::Function::New(env, memory));
  exports.Set("resetPeak", Napi::Function::New(env, reset_peak));
  exports.Set("failAllocationAfter", Napi::Function::New(env, set_allocation_failure));
  exports.Set("threads", Napi::Function::New(env, threads));
  exports.Set("instructionSet", Napi::Function::New(env, instruction_set));
  return exports;
}

}  // namespace

NODE_API_MODULE(node_finetune, init)

}  // namespace nft::bindings
