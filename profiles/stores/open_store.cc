// Which kind of store a name means. Apart from store.cc, so that one kind can be used without the others.

#include "profiles/stores/file.h"
#include "profiles/stores/memory.h"
#include "profiles/stores/partition.h"
#include "profiles/stores/variables.h"

namespace dupengine::profiles {

std::unique_ptr<ProfileStore> open_store(const std::string& spec) {
    const StoreSpec parts = parse_store_spec(spec);
    switch (parts.kind) {
        case StoreSpec::Kind::kPartition:
            return partition_store(parts.path);
        case StoreSpec::Kind::kFile:
            return file_store(parts.path);
        case StoreSpec::Kind::kMemory:
            return memory_store(parts.path);
        case StoreSpec::Kind::kVariables:
            return variable_store(parts.path);
    }
    throw_error(Code::kInternal, "{}: a kind of store without code", spec);
}

}  // namespace dupengine::profiles
