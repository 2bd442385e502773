// SPDX-License-Identifier: GPL-2.0
/*
 * Reading the binary statistics; see stats.h.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stats.h"

u64 stat_value(int fd, const char *name)
{
	struct kvm_stats_desc *desc;
	struct kvm_stats_header h;
	u64 value = ~0ull;
	size_t size;
	u32 i;

	REQUIRE_EQ(pread(fd, &h, sizeof(h), 0), (ssize_t)sizeof(h));
	size = sizeof(*desc) + h.name_size;
	desc = malloc(size);
	for (i = 0; i < h.num_desc; i++) {
		REQUIRE_EQ(pread(fd, desc, size, h.desc_offset + i * size), (ssize_t)size);
		REQUIRE(memchr(desc->name, 0, h.name_size));
		CHECK(desc->size >= 1);
		CHECK((desc->flags & KVM_STATS_TYPE_MASK) <= KVM_STATS_TYPE_MAX);
		if (!strcmp(desc->name, name))
			REQUIRE_EQ(pread(fd, &value, 8, h.data_offset + desc->offset), 8);
	}
	free(desc);
	return value;
}

u64 stat_of(int fd, const char *name)
{
	int stats = xioctl(fd, KVM_GET_STATS_FD, 0);
	u64 value = stat_value(stats, name);

	close(stats);
	REQUIRE(value != ~0ull);
	return value;
}
