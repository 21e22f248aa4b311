// SPDX-License-Identifier: LGPL-2.1-or-later

package pathbuilder

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
