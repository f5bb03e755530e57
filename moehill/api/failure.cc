// Implementation of api/failure.h.
#include "moehill/api/failure.h"

#include <new>
#include <system_error>

#include "moehill/base/error.h"

namespace moehill {
namespace {

std::string& message_of_thread() {
  thread_local std::string message;
  return message;
}

// Its text is made when the program starts, because later there may be no memory for it. Copies share the
// text, so they need none.
const Failure kOutOfMemory(
    MOEHILL_OUT_OF_MEMORY,
    "memory: the system has less than was asked for; take fewer tokens, or more processes");

// Each exception that the library throws on purpose has a status; any other is an internal error. Throws if
// there is no memory for the text.
Failure failure_of_exception() {
  try {
    throw;
  } catch (const Failure& failure) {
    return failure;
  } catch (const InputError& error) {
    return {MOEHILL_INVALID_ARGUMENT, error.what()};
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  } catch (const std::system_error& error) {
    if (error.code() != std::errc::resource_unavailable_try_again) return {MOEHILL_INTERNAL, error.what()};
    return {MOEHILL_OUT_OF_MEMORY,
            "threads: the system cannot start more; take fewer devices, or fewer threads_per_device"};
  } catch (const std::exception& error) {
    return {MOEHILL_INTERNAL, error.what()};
  } catch (...) {
    return {MOEHILL_INTERNAL, "an exception of an unknown type"};
  }
}

}  // namespace

Failure invalid(const std::string& what, const std::string& got, const std::string& allowed,
                const std::string& remedy) {
  return {MOEHILL_INVALID_ARGUMENT, input_error(what, got, allowed, remedy).what()};
}

Failure out_of_memory() { return kOutOfMemory; }

Failure null_argument(const char* what) { return invalid(what, "null", "an address", "pass one"); }

Failure current_failure() noexcept {
  try {
    return failure_of_exception();
  } catch (...) {
    return kOutOfMemory;
  }
}

moehill_status report_current_failure() noexcept {
  const Failure failure = current_failure();
  try {
    message_of_thread() = failure.what();
  } catch (...) {
    message_of_thread().clear();  // there was no memory for the text
  }
  return failure.status();
}

const char* last_error() { return message_of_thread().c_str(); }

}  // namespace moehill
