# The Debian package (tools/package). What it depends on is what the binary is linked with (dpkg-shlibdeps) and the group `run` of
# tools/packages.txt.
file(STRINGS ${CMAKE_SOURCE_DIR}/tools/packages.txt lines REGEX "^run ")
list(TRANSFORM lines REPLACE "^run " "")
list(JOIN lines ", " CPACK_DEBIAN_PACKAGE_DEPENDS)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tools/packages.txt)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME dupengine)
set(CPACK_PACKAGE_CONTACT "The dupengine developers <dupengine@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "duplicates machines: disks, running memory, and who each one is")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
    "Duplicates a machine onto another: disks and, between matching machines, the\nrunning memory and CPU state. One region of the target, its profile, is never\noverwritten, and says what the target becomes before it runs.")
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "initramfs-tools | dracut-core")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "btrfs-progs, xfsprogs, f2fs-tools, ntfs-3g, dnsmasq-base, grub-pc-bin, grub-efi-amd64-bin")
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_SOURCE_DIR}/tools/debian/prerm ${CMAKE_SOURCE_DIR}/tools/debian/conffiles)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_STRIP_FILES ON)
# A hook in /etc is nowhere else.
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
include(CPack)
