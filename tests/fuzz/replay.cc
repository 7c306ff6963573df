// Runs a fuzz target over files, without a fuzzer: replay_NAME FILE-OR-FOLDER... Fails if there is nothing to
// run.

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <vector>

#include "base/fd.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

void run(const std::filesystem::path& path) {
    std::fprintf(stderr, "%s\n", path.c_str());  // before it runs: a crash must say where
    const std::string content = dupengine::read_file(path.string(), dupengine::Code::kInternal);
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(content.data()), content.size());
}

}  // namespace

int main(int argc, char** argv) {
    std::vector<std::filesystem::path> files;
    for (int i = 1; i < argc; ++i) {
        if (!std::filesystem::is_directory(argv[i]))
            files.emplace_back(argv[i]);
        else
            for (const auto& entry : std::filesystem::directory_iterator(argv[i]))
                files.push_back(entry.path());
    }
    for (const auto& file : files)
        run(file);
    std::fprintf(stderr, "%zu inputs\n", files.size());
    return files.empty() ? 1 : 0;
}
