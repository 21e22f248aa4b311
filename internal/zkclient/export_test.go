// SPDX-License-Identifier: LGPL-2.1-or-later

package zkclient

import "reflect"

// ConnectWith is Connect with a dialer of the test's.
var ConnectWith = connect

// Watches counts the watches that have not fired.
func (c *Client) Watches() int {
	c.state.Lock()
	defer c.state.Unlock()
	return len(c.watches)
}

// LibraryWatches counts the channels the library keeps for watches that have not fired.
func (c *Client) LibraryWatches() int {
	n := 0
	for all := reflect.ValueOf(c.conn).Elem().FieldByName("watchers").MapRange(); all.Next(); {
		n += all.Value().Len()
	}
	return n
}
