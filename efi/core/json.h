#pragma once
// Walks through a JSON text (RFC 8259) and tells each value with its key, without a heap: for the mark of an
// unfinished copy, which dupengine wrote itself and protects with a digest.

#include "efi/core/text.h"

namespace dupengine::efi {

class JsonSink {
  public:
    /// `key`: "protected/entry/number"; arrays add nothing. Escapes in a text stay as they are.
    virtual void text(TextView key, TextView value) = 0;
    virtual void number(TextView key, std::uint64_t value) = 0;
    /// The end of an object that stood there.
    virtual void end_of_object(TextView key) = 0;

  protected:
    ~JsonSink() = default;
};

/// False if the text is no JSON, or nested more than 8 deep.
bool read_json(TextView text, JsonSink& sink);

}  // namespace dupengine::efi
