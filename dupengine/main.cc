// dupengine: duplicates a machine onto another. See dupengine(8).

#include "cli/command.h"

int main(int argc, char** argv) {
    return dupengine::cli::run_command(argc, argv);
}
